"""TensorFlow Serving's gRPC API: its two services, health and reflection, on ``grpc.aio``."""
