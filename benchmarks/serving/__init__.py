"""The embedded server beside other ways of serving the same models: ``make bench-serving``."""
