output "buckets" {
  description = "The buckets' names, by use: artifacts, models."
  value       = { for use, bucket in aws_s3_bucket.this : use => bucket.bucket }
}

output "bucket_arns" {
  description = "The buckets' ARNs, by use."
  value       = local.arns
}
