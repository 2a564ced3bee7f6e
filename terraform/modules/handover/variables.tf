variable "region" {
  description = "The region."
  type        = string
}

variable "artifacts_bucket" {
  description = "The bucket of artifacts."
  type        = string
}

variable "kafka_brokers" {
  description = "Where Kafka is: host:port, separated by commas."
  type        = string
}

variable "database_address" {
  description = "PostgreSQL's host."
  type        = string
}

variable "broker_url" {
  description = "RabbitMQ's URL, with its password."
  type        = string
  sensitive   = true
}

variable "cache_url" {
  description = "Redis' URL, with its password."
  type        = string
  sensitive   = true
}

variable "file_system_id" {
  description = "The shared file system."
  type        = string
}

variable "role_arns" {
  description = "The roles, by service account."
  type        = map(string)
}
