"""Serving: how a model reaches TensorFlow Serving's base path, and back."""
