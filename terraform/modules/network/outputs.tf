output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "The private subnets, by zone."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}
