"""Messages: RabbitMQ requests to retrain, and Kafka events of learners."""
