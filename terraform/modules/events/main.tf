# Kafka for learner events: a broker in each zone, TLS and SASL/SCRAM only.

resource "aws_msk_configuration" "this" {
  name              = var.name
  server_properties = <<-EOT
    auto.create.topics.enable=true
    default.replication.factor=${length(var.network.subnet_ids)}
    min.insync.replicas=${length(var.network.subnet_ids) - 1}
    unclean.leader.election.enable=false
    num.partitions=6
    log.retention.hours=${var.retention_hours}
  EOT
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/learnloop/${var.name}/kafka"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_msk_cluster" "this" {
  cluster_name           = var.name
  kafka_version          = "3.8.x"
  number_of_broker_nodes = length(var.network.subnet_ids)
  broker_node_group_info {
    instance_type   = var.instance_type
    client_subnets  = var.network.subnet_ids
    security_groups = [var.network.security_group_id]
    connectivity_info {
      public_access {
        type = "DISABLED"
      }
    }
    storage_info {
      ebs_storage_info {
        volume_size = var.storage_gib
      }
    }
  }
  client_authentication {
    unauthenticated = false
    sasl {
      scram = true
    }
  }
  encryption_info {
    encryption_at_rest_kms_key_arn = var.kms_key_arn
    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }
  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }
  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.this.name
      }
    }
  }
}

resource "aws_msk_scram_secret_association" "this" {
  cluster_arn     = aws_msk_cluster.this.arn
  secret_arn_list = [var.password_secret_arn]
}
