"""The embedded server: TensorFlow Serving's REST and gRPC APIs in one Python process."""
