output "role_arns" {
  description = "The roles, by service account."
  value       = { for account, role in aws_iam_role.this : account => role.arn }
}
