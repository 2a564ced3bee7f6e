output "url" {
  description = "The broker's AMQP URL."
  value       = replace(aws_mq_broker.this.instances[0].endpoints[0], "amqps://", "amqps://${local.user}:${var.password}@")
  sensitive   = true
}
