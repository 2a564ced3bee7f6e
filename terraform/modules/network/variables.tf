variable "name" {
  description = "What everything is called."
  type        = string
}

variable "cidr" {
  description = "The network's addresses."
  type        = string
}

variable "zones" {
  description = "Availability zones to spread over."
  type        = number
}

variable "one_nat_gateway" {
  description = "Whether one NAT gateway serves all zones: cheaper, and its zone's fault is everybody's."
  type        = bool
}

variable "kms_key_arn" {
  description = "The key that encrypts logs."
  type        = string
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
}
