# What moto can make, with the addresses of the rest made up: it is to carry LearnLoop itself.


terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  s3_use_path_style = true
}

resource "aws_kms_key" "this" {}

module "storage" {
  source      = "./modules/storage"
  name        = "learnloop-carried"
  kms_key_arn = aws_kms_key.this.arn
  undo_days   = 1
  protected   = false
}

module "registry" {
  source      = "./modules/registry"
  name        = "learnloop-carried"
  images      = ["learnloop"]
  kms_key_arn = aws_kms_key.this.arn
  protected   = false
}

module "handover" {
  source           = "./modules/handover"
  region           = "eu-west-1"
  artifacts_bucket = module.storage.buckets["artifacts"]
  kafka_brokers    = "b-1.kafka.example:9096,b-2.kafka.example:9096"
  database_address = "postgresql.example"
  broker_url       = "amqps://learnloop:word@broker.example:5671"
  cache_url        = "rediss://:word@redis.example:6379/0"
  file_system_id   = "fs-1"
  role_arns        = { for account in ["learnloop", "serving", "airflow"] : account => "arn:aws:iam::111122223333:role/learnloop-production-${account}" }
}

module "kafka" {
  source      = "./modules/secret"
  name        = "AmazonMSK_learnloop"
  fields      = { username = "learnloop", password = "%hex" }
  kms_key_arn = aws_kms_key.this.arn
  protected   = false
}

module "secret" {
  source      = "./modules/secret"
  for_each    = toset(nonsensitive(keys(module.handover.secrets)))
  name        = each.key
  fields      = module.handover.secrets[each.key]
  copies      = each.key == "learnloop/events" ? { LEARNLOOP_KAFKA_SASL_PASSWORD = { secret_arn = module.kafka.arn, field = "password" } } : {}
  kms_key_arn = aws_kms_key.this.arn
  protected   = false
}

output "buckets" {
  value = module.storage.buckets
}

output "environment" {
  value = module.handover.environment
}

output "kafka_environment" {
  value = module.handover.kafka_environment
}

output "patches" {
  value = module.handover.patches
}

output "objects" {
  value = module.handover.objects
}
