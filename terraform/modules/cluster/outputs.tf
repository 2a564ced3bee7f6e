output "name" {
  description = "The cluster's name."
  value       = aws_eks_cluster.this.name
}

output "security_group_id" {
  description = "What its nodes and pods are in."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "oidc" {
  description = "Who vouches for its service accounts: the provider's ARN, and its URL without https."
  value       = { arn = aws_iam_openid_connect_provider.this.arn, issuer = local.issuer }
}
