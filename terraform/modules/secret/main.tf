# A secret in Secrets Manager: a JSON object whose random parts AWS makes, written once without ever
# being in a plan or the state. Whoever rotates it writes a new one, which Terraform leaves alone.

ephemeral "aws_secretsmanager_random_password" "this" {
  password_length     = 64
  exclude_punctuation = true
}

ephemeral "aws_secretsmanager_secret_version" "copied" {
  for_each  = var.copies
  secret_id = each.value.secret_arn
}

locals {
  # A part of its own for each field; hexadecimal digits suit URLs and keys of 32 bytes alike.
  parts  = { for field in keys(var.fields) : field => "${field} ${ephemeral.aws_secretsmanager_random_password.this.random_password}" }
  hex    = { for field, part in local.parts : field => sha256(part) }
  base64 = { for field, part in local.parts : field => replace(replace(base64sha256(part), "+", "-"), "/", "_") }
  random = {
    for field, template in var.fields : field =>
    replace(replace(template, "%hex", local.hex[field]), "%base64", local.base64[field])
  }
  sources = ephemeral.aws_secretsmanager_secret_version.copied
  copied  = { for field, copy in var.copies : field => jsondecode(local.sources[field].secret_string)[copy.field] }
}

resource "aws_secretsmanager_secret" "this" {
  name                    = var.name
  description             = "LearnLoop: ${join(", ", nonsensitive(keys(merge(var.fields, var.copies))))}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.protected ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "this" {
  secret_id                = aws_secretsmanager_secret.this.id
  secret_string_wo         = jsonencode(merge(local.random, local.copied))
  secret_string_wo_version = 1
}
