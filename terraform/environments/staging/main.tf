# To try things out: the same services as production, small, without standbys, and easy to destroy.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
  # Where the state is, terraform init is told: -backend-config=bucket=… and so on.
  backend "s3" {
    key          = "learnloop/staging.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account]
  default_tags {
    tags = { application = "learnloop", environment = "staging", managed-by = "terraform" }
  }
}

module "learnloop" {
  source             = "../../modules/platform"
  name               = "learnloop-staging"
  protected          = false
  administrators     = var.administrators
  api_networks       = var.api_networks
  kubernetes_version = "1.34"
  cidr               = "10.41.0.0/16"
  zones              = 2
  backup_days        = 1
  undo_days          = 1
  log_days           = 14
  node_types         = ["m6i.large"]
  nodes              = { least = 2, most = 4 }
  database_class     = "db.t4g.medium"
  database_gib       = 20
  broker_type        = "mq.m5.large"
  events_type        = "kafka.t3.small"
  events_gib         = 20
  cache_type         = "cache.t4g.small"
}
