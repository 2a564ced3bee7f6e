"""The pipelines of the benchmark's project."""
