"""Pipelines of a few arithmetic steps, for tests of the runners."""
