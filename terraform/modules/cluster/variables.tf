variable "name" {
  description = "The cluster's name."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes' version, as 1.34."
  type        = string
}

variable "subnet_ids" {
  description = "The private subnets."
  type        = list(string)
}

variable "api_networks" {
  description = "Networks that reach the control plane from outside; none: only from within."
  type        = list(string)
}

variable "administrators" {
  description = "IAM roles or users that administer the cluster."
  type        = list(string)
}

variable "node_types" {
  description = "The nodes' kinds."
  type        = list(string)
}

variable "nodes" {
  description = "How many nodes there are at least and at most."
  type        = object({ least = number, most = number })
}

variable "kms_key_arn" {
  description = "The key that encrypts Kubernetes' secrets and the logs."
  type        = string
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
}
