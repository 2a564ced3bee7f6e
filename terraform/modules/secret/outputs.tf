output "arn" {
  description = "The secret, once it has its value."
  value       = aws_secretsmanager_secret_version.this.arn
}
