output "id" {
  description = "The file system, which Kubernetes' driver makes volumes in."
  value       = aws_efs_file_system.this.id
}
