variable "name" {
  description = "What everything is called."
  type        = string
}

variable "network" {
  description = "The private subnets, and the security group that lets the cluster in."
  type        = object({ subnet_ids = list(string), security_group_id = string })
}

variable "kms_key_arn" {
  description = "The key that encrypts what is stored."
  type        = string
}

variable "instance_type" {
  description = "The brokers' kind."
  type        = string
}

variable "storage_gib" {
  description = "Storage of each broker."
  type        = number
}

variable "retention_hours" {
  description = "How long Kafka keeps events; so long it keeps those of erased people that were not sealed."
  type        = number
}

variable "password_secret_arn" {
  description = "The secret with the one user's name and password; its name begins with AmazonMSK_."
  type        = string
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
}
