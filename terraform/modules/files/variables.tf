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

variable "backup_days" {
  description = "Days that a backup is kept; it keeps erased people so long."
  type        = number
}

variable "protected" {
  description = "Whether destroying fails while there are backups."
  type        = bool
}
