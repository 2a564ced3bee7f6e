variable "name" {
  description = "The domain's name."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts packages."
  type        = string
}
