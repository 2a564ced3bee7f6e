output "environment" {
  description = "For kubernetes/overlays/staging/learnloop.env."
  value       = module.learnloop.environment
}

output "kafka_environment" {
  description = "For kubernetes/overlays/staging/kafka.env."
  value       = module.learnloop.kafka_environment
}

output "patches" {
  description = "For kubernetes/overlays/staging/cluster.yaml."
  value       = module.learnloop.patches
}

output "objects" {
  description = "For kubectl apply, once."
  value       = module.learnloop.objects
}

output "deployment" {
  description = "What CI and the console need."
  value       = module.learnloop.deployment
}
