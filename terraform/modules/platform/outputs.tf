output "environment" {
  description = "An overlay's learnloop.env: settings that are no secrets."
  value       = module.handover.environment
}

output "kafka_environment" {
  description = "An overlay's kafka.env: settings of those who speak to Kafka."
  value       = module.handover.kafka_environment
}

output "patches" {
  description = "An overlay's cluster.yaml: the accounts' roles, the claims' storage class."
  value       = module.handover.patches
}

output "objects" {
  description = "For kubectl apply, once: the storage class, and where secrets come from."
  value       = module.handover.objects
}

output "deployment" {
  description = "What CI and the console need."
  value = {
    cluster         = module.cluster.name
    region          = local.region
    images          = module.registry.repositories
    wheels          = module.packages.index
    models          = "s3://${module.storage.buckets["models"]}"
    secrets_role    = module.accounts.role_arns["secrets"]
    database_master = module.database.master_secret_arn
  }
}
