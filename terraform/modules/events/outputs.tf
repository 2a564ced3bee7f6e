output "brokers" {
  description = "Where to connect: host:port, separated by commas."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
}
