output "index" {
  description = "The package index for pip and twine."
  value       = data.aws_codeartifact_repository_endpoint.this.repository_endpoint
}
