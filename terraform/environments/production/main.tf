# For learners: every service outlives the fault of a zone; database, buckets, images and backups refuse
# to be deleted.

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
    key          = "learnloop/production.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account]
  default_tags {
    tags = { application = "learnloop", environment = "production", managed-by = "terraform" }
  }
}

module "learnloop" {
  source             = "../../modules/platform"
  name               = "learnloop-production"
  protected          = true
  administrators     = var.administrators
  api_networks       = var.api_networks
  kubernetes_version = "1.34"
  cidr               = "10.40.0.0/16"
  zones              = 3
  backup_days        = 14
  undo_days          = 14
  log_days           = 90
  node_types         = ["m6i.2xlarge"]
  nodes              = { least = 3, most = 12 }
  database_class     = "db.m7g.large"
  database_gib       = 100
  broker_type        = "mq.m5.large"
  events_type        = "kafka.m7g.large"
  events_gib         = 500
  cache_type         = "cache.m7g.large"
}
