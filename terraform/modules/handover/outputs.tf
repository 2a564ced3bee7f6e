output "environment" {
  description = "An overlay's learnloop.env: settings that are no secrets."
  value       = join("", [for variable, value in local.settings : "${variable}=${value}\n"])
}

output "kafka_environment" {
  description = "An overlay's kafka.env: settings of those who speak to Kafka."
  value       = join("", [for variable, value in local.kafka : "${variable}=${value}\n"])
}

output "patches" {
  description = "An overlay's cluster.yaml: the accounts' roles, the claims' storage class."
  value       = join("---\n", [for patch in local.patches : yamlencode(patch)])
}

output "objects" {
  description = "For kubectl apply, once: the storage class, and where secrets come from."
  value       = join("---\n", [for object in local.objects : yamlencode(object)])
}

output "secrets" {
  description = "The secrets' fields, as the module of this name takes them."
  value       = local.secrets
  sensitive   = true
}
