# Passwords and keys. AWS makes them; where its services can take them from Secrets Manager, or the code
# does, they are neither in a plan nor in the state.

locals {
  secret_names = nonsensitive(keys(module.handover.secrets))

  # What a service must know before it is there. Kafka on AWS wants this name's beginning.
  passwords = {
    broker = { name = "learnloop/broker-password", fields = { password = "%hex" } }
    cache  = { name = "learnloop/online-password", fields = { password = "%hex" } }
    kafka  = { name = "AmazonMSK_learnloop", fields = { username = "learnloop", password = "%hex" } }
  }
  copies = { "learnloop/events" = {
    LEARNLOOP_KAFKA_SASL_PASSWORD = { secret_arn = module.password["kafka"].arn, field = "password" }
  } }

  # Two services take their first password as a plain argument only, and so it is in the state.
  password = {
    for service, version in data.aws_secretsmanager_secret_version.password :
    service => jsondecode(version.secret_string).password
  }
}

module "password" {
  source      = "../secret"
  for_each    = local.passwords
  name        = each.value.name
  fields      = each.value.fields
  kms_key_arn = aws_kms_key.this.arn
  protected   = var.protected
}

data "aws_secretsmanager_secret_version" "password" {
  for_each  = toset(["broker", "cache"])
  secret_id = module.password[each.key].arn
}

module "secret" {
  source      = "../secret"
  for_each    = toset(local.secret_names)
  name        = each.key
  fields      = module.handover.secrets[each.key]
  copies      = lookup(local.copies, each.key, {})
  kms_key_arn = aws_kms_key.this.arn
  protected   = var.protected
}
