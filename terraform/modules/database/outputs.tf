output "address" {
  description = "The host; the port is 5432."
  value       = aws_db_instance.this.address
}

output "master_secret_arn" {
  description = "The secret that AWS keeps the master's user and password in."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
