variable "region" {
  description = "The region, as eu-west-1; learners' data stays there."
  type        = string
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is '${var.region}': expected one of AWS, as eu-west-1."
  }
}

variable "account" {
  description = "The number of the AWS account that this environment belongs in; no other is touched."
  type        = string
  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "account is '${var.account}': expected the twelve digits that aws sts get-caller-identity prints."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles that administer the cluster."
  type        = list(string)
}

variable "api_networks" {
  description = "Networks that reach Kubernetes' control plane over the internet; none: only from within."
  type        = list(string)
  default     = []
}
