variable "name" {
  description = "What everything is called: learnloop and the environment."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,28}[a-z0-9]$", var.name))
    error_message = "name is '${var.name}': expected 3 to 30 small letters, digits and hyphens, a letter first, as learnloop-production."
  }
}

variable "protected" {
  description = "Whether it is production: deletion is refused, and each service outlives the fault of a zone."
  type        = bool
}

variable "cidr" {
  description = "The network's addresses, a /16 that no network to be joined with has. Kubernetes' policies expect services in 10.0.0.0/8."
  type        = string
  default     = "10.40.0.0/16"
  validation {
    condition     = can(cidrnetmask(var.cidr)) && startswith(var.cidr, "10.") && endswith(var.cidr, "/16")
    error_message = "cidr is '${var.cidr}': expected a /16 network of 10.0.0.0/8, as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones to spread over; RabbitMQ in a cluster takes three, Kafka no more."
  type        = number
  default     = 3
  validation {
    condition     = var.zones >= (var.protected ? 3 : 2) && var.zones <= 3
    error_message = "zones is ${var.zones}: expected 2 or 3, in a protected environment 3; Kafka takes no more."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes' version, one that EKS supports."
  type        = string
  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version is '${var.kubernetes_version}': expected major and minor, as 1.34; aws eks describe-cluster-versions lists them."
  }
}

variable "api_networks" {
  description = "Networks that reach Kubernetes' control plane over the internet; none: only from within."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for network in var.api_networks : can(cidrnetmask(network)) && tonumber(try(split("/", network)[1], 0)) >= 16])
    error_message = "api_networks is [${join(", ", var.api_networks)}]: expected networks of your own of /16 or smaller, as 192.0.2.0/24; whole internets are refused."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles that administer the cluster."
  type        = list(string)
  validation {
    condition     = length(var.administrators) > 0 && alltrue([for one in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/", one))])
    error_message = "administrators is [${join(", ", var.administrators)}]: expected at least one ARN, as arn:aws:iam::123456789012:role/devops; without one nobody can reach the cluster."
  }
}

variable "backup_days" {
  description = "Days that backups are kept. Whoever is erased is in them so long."
  type        = number
  default     = 14
  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "backup_days is ${var.backup_days}: expected 1 to 35; a backup keeps erased people, so promise nobody less."
  }
}

variable "undo_days" {
  description = "Days that replaced or deleted versions of objects are kept; an erasure removes those of artifacts at once."
  type        = number
  default     = 14
  validation {
    condition     = var.undo_days >= 1 && var.undo_days <= 90
    error_message = "undo_days is ${var.undo_days}: expected 1 to 90."
  }
}

variable "log_days" {
  description = "Days that logs are kept, a number that CloudWatch knows."
  type        = number
  default     = 90
  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365], var.log_days)
    error_message = "log_days is ${var.log_days}: expected 7, 14, 30, 60, 90, 180 or 365."
  }
}

variable "images" {
  description = "Container images, a repository each."
  type        = list(string)
  default     = ["learnloop"]
}

variable "node_types" {
  description = "Kinds of the cluster's nodes; x86-64, which TensorFlow's images are for."
  type        = list(string)
}

variable "nodes" {
  description = "How many nodes there are at least and at most."
  type        = object({ least = number, most = number })
  validation {
    condition     = var.nodes.least >= 1 && var.nodes.least <= var.nodes.most
    error_message = "nodes is ${var.nodes.least} to ${var.nodes.most}: expected at least 1, and no more at least than at most."
  }
}

variable "database_class" {
  description = "PostgreSQL's instance."
  type        = string
}

variable "database_gib" {
  description = "PostgreSQL's storage at first."
  type        = number
}

variable "broker_type" {
  description = "RabbitMQ's instances."
  type        = string
}

variable "events_type" {
  description = "Kafka's brokers."
  type        = string
}

variable "events_gib" {
  description = "Storage of each of Kafka's brokers."
  type        = number
}

variable "events_hours" {
  description = "How long Kafka keeps events."
  type        = number
  default     = 168
}

variable "cache_type" {
  description = "Redis' nodes."
  type        = string
}
