variable "name" {
  description = "The secret's name."
  type        = string
}

variable "fields" {
  description = "Its fields; in a value, %hex becomes 32 random bytes in hexadecimal, %base64 in base64 for URLs."
  type        = map(string)
}

variable "copies" {
  description = "Fields that are copied from a field of another secret."
  type        = map(object({ secret_arn = string, field = string }))
  default     = {}
}

variable "kms_key_arn" {
  description = "The key that encrypts it."
  type        = string
}

variable "protected" {
  description = "Whether a deleted secret can be restored for 30 days."
  type        = bool
}
