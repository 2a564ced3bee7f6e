# All that LearnLoop needs in production, put together. Environments differ in sizes alone.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  region     = data.aws_region.current.name
  account    = data.aws_caller_identity.current.account_id
  arn_prefix = "arn:${data.aws_partition.current.partition}"
  # What the cluster may connect to, and where.
  ports = { database = 5432, broker = 5671, events = 9096, cache = 6379, files = 2049 }
  network = { for service in keys(local.ports) : service => {
    subnet_ids        = module.network.private_subnet_ids
    security_group_id = aws_security_group.service[service].id
  } }
}

# One key for the environment: whoever may not use it reads nothing of what is stored under it.
resource "aws_kms_key" "this" {
  description             = "LearnLoop: all data of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountByItsPolicies"
        Effect    = "Allow"
        Principal = { AWS = "${local.arn_prefix}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = { ArnLike = {
          "kms:EncryptionContext:aws:logs:arn" = "${local.arn_prefix}:logs:${local.region}:${local.account}:log-group:*"
        } }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.id
}

module "network" {
  source          = "../network"
  name            = var.name
  cidr            = var.cidr
  zones           = var.zones
  one_nat_gateway = !var.protected
  kms_key_arn     = aws_kms_key.this.arn
  log_days        = var.log_days
}

resource "aws_security_group" "service" {
  for_each    = local.ports
  name        = "${var.name}-${each.key}"
  description = "The cluster may connect"
  vpc_id      = module.network.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "service" {
  for_each                     = local.ports
  security_group_id            = aws_security_group.service[each.key].id
  description                  = "Pods of the cluster"
  referenced_security_group_id = module.cluster.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

module "storage" {
  source      = "../storage"
  name        = var.name
  kms_key_arn = aws_kms_key.this.arn
  undo_days   = var.undo_days
  protected   = var.protected
}

module "files" {
  source      = "../files"
  name        = var.name
  network     = local.network["files"]
  kms_key_arn = aws_kms_key.this.arn
  backup_days = var.backup_days
  protected   = var.protected
}

module "registry" {
  source      = "../registry"
  name        = var.name
  images      = var.images
  kms_key_arn = aws_kms_key.this.arn
  protected   = var.protected
}

module "packages" {
  source      = "../packages"
  name        = var.name
  kms_key_arn = aws_kms_key.this.arn
}

module "cluster" {
  source             = "../cluster"
  name               = var.name
  kubernetes_version = var.kubernetes_version
  subnet_ids         = module.network.private_subnet_ids
  api_networks       = var.api_networks
  administrators     = var.administrators
  node_types         = var.node_types
  nodes              = var.nodes
  kms_key_arn        = aws_kms_key.this.arn
  log_days           = var.log_days
}

module "database" {
  source         = "../database"
  name           = var.name
  network        = local.network["database"]
  kms_key_arn    = aws_kms_key.this.arn
  instance_class = var.database_class
  storage_gib    = var.database_gib
  standby        = var.protected
  backup_days    = var.backup_days
  protected      = var.protected
  log_days       = var.log_days
}

module "broker" {
  source        = "../broker"
  name          = var.name
  network       = local.network["broker"]
  instance_type = var.broker_type
  cluster       = var.protected
  password      = local.password["broker"]
}

module "events" {
  source              = "../events"
  name                = var.name
  network             = local.network["events"]
  kms_key_arn         = aws_kms_key.this.arn
  instance_type       = var.events_type
  storage_gib         = var.events_gib
  retention_hours     = var.events_hours
  password_secret_arn = module.password["kafka"].arn
  log_days            = var.log_days
}

module "cache" {
  source      = "../cache"
  name        = var.name
  network     = local.network["cache"]
  kms_key_arn = aws_kms_key.this.arn
  node_type   = var.cache_type
  replicas    = var.protected ? 1 : 0
  password    = local.password["cache"]
}

module "accounts" {
  source      = "../accounts"
  name        = var.name
  region      = local.region
  oidc        = module.cluster.oidc
  bucket_arns = module.storage.bucket_arns
  kms_key_arn = aws_kms_key.this.arn
  # Secrets Manager ends an ARN with six characters of its own.
  secret_arns = [
    for secret in local.secret_names :
    "${local.arn_prefix}:secretsmanager:${local.region}:${local.account}:secret:${secret}-??????"
  ]
}

module "handover" {
  source           = "../handover"
  region           = local.region
  artifacts_bucket = module.storage.buckets["artifacts"]
  kafka_brokers    = module.events.brokers
  database_address = module.database.address
  broker_url       = module.broker.url
  cache_url        = module.cache.url
  file_system_id   = module.files.id
  role_arns        = module.accounts.role_arns
}
