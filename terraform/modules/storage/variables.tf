variable "name" {
  description = "What the buckets' names begin with; the account's number ends them."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts every object."
  type        = string
}

variable "undo_days" {
  description = "Days that an object's replaced or deleted version is kept."
  type        = number
}

variable "protected" {
  description = "Whether destroying fails while a bucket holds something."
  type        = bool
}
