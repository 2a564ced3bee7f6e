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

variable "node_type" {
  description = "The nodes' kind."
  type        = string
}

variable "replicas" {
  description = "Replicas beside the primary, in other zones; with any, one takes over by itself."
  type        = number
}

variable "password" {
  description = "The first password; rotate it by aws elasticache modify-replication-group."
  type        = string
  sensitive   = true
}
