variable "name" {
  description = "What the roles' names begin with."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "oidc" {
  description = "Who vouches for the service accounts."
  type        = object({ arn = string, issuer = string })
}

variable "bucket_arns" {
  description = "The buckets, by use."
  type        = map(string)
}

variable "secret_arns" {
  description = "The secrets that Kubernetes fetches."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "The key of buckets and secrets."
  type        = string
}
