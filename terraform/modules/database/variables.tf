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

variable "instance_class" {
  description = "The instance's kind."
  type        = string
}

variable "storage_gib" {
  description = "Storage at first; it grows by itself to five times that."
  type        = number
}

variable "standby" {
  description = "Whether a standby in another zone takes over."
  type        = bool
}

variable "backup_days" {
  description = "Days that a backup is kept; it keeps erased people so long."
  type        = number
}

variable "protected" {
  description = "Whether deletion is refused, and leaves a final snapshot where it is not."
  type        = bool
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
}
