variable "name" {
  description = "What the repositories' names begin with."
  type        = string
}

variable "images" {
  description = "The images, one repository each."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "The key that encrypts images."
  type        = string
}

variable "protected" {
  description = "Whether destroying fails while there are images."
  type        = bool
}
