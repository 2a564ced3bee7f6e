output "url" {
  description = "The cache's URL, for LEARNLOOP_FEATURES_ONLINE."
  value       = "rediss://:${var.password}@${aws_elasticache_replication_group.this.primary_endpoint_address}:6379/0"
  sensitive   = true
}
