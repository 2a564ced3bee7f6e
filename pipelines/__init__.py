"""The pipelines of this deployment, one folder each. An author's own repository holds its own."""
