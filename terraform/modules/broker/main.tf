# RabbitMQ for requests to retrain. Amazon MQ takes the first password as a plain argument, so it is in
# the state; a rotated one is not. It encrypts RabbitMQ's disks under a key of AWS's, and refuses another.

locals {
  user = "learnloop"
}

resource "aws_mq_broker" "this" {
  broker_name                = var.name
  engine_type                = "RabbitMQ"
  engine_version             = "3.13"
  auto_minor_version_upgrade = true
  host_instance_type         = var.instance_type
  deployment_mode            = var.cluster ? "CLUSTER_MULTI_AZ" : "SINGLE_INSTANCE"
  publicly_accessible        = false
  subnet_ids                 = slice(var.network.subnet_ids, 0, var.cluster ? 3 : 1)
  security_groups            = [var.network.security_group_id]
  user {
    username = local.user
    password = var.password
  }
  logs {
    general = true
  }
  maintenance_window_start_time {
    day_of_week = "SUNDAY"
    time_of_day = "03:00"
    time_zone   = "UTC"
  }
  lifecycle {
    ignore_changes = [user]
  }
}
