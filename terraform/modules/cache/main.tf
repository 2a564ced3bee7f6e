# Redis for online features: one primary, not a Redis Cluster, because its scripts name keys that they
# find. No snapshots: the rows are made again from the feature store, and none outlives an erasure.

resource "aws_elasticache_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.network.subnet_ids
}

resource "aws_elasticache_parameter_group" "this" {
  name   = "${var.name}-redis7"
  family = "redis7"
  parameter {
    name  = "maxmemory-policy" # a row that is thrown away would look like a learner without features
    value = "noeviction"
  }
}

resource "aws_elasticache_replication_group" "this" {
  replication_group_id       = var.name
  description                = "Online features"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = var.node_type
  num_cache_clusters         = 1 + var.replicas
  automatic_failover_enabled = var.replicas > 0
  multi_az_enabled           = var.replicas > 0
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [var.network.security_group_id]
  parameter_group_name       = aws_elasticache_parameter_group.this.name
  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  auth_token                 = var.password
  snapshot_retention_limit   = 0
  maintenance_window         = "sun:04:00-sun:05:00"
  lifecycle {
    ignore_changes = [auth_token] # a rotated one is not Terraform's
  }
}
