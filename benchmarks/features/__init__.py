"""The feature store beside what others would use for the same work."""
