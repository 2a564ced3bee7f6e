"""The monitors: a model in service, looked at window by window."""
