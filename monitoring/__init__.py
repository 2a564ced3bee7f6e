"""What watches LearnLoop: Prometheus, Alertmanager, and Grafana's dashboards, made from code."""
