"""Watching a model in service: what has changed, and whether that is more than the calendar."""
