variable "name" {
  description = "What everything is called."
  type        = string
}

variable "network" {
  description = "The private subnets, and the security group that lets the cluster in."
  type        = object({ subnet_ids = list(string), security_group_id = string })
}

variable "instance_type" {
  description = "The brokers' kind."
  type        = string
}

variable "cluster" {
  description = "Whether three brokers in as many zones share the queues; else one."
  type        = bool
}

variable "password" {
  description = "The first password; rotate it in the broker's own console."
  type        = string
  sensitive   = true
}
