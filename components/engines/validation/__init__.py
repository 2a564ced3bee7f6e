"""Data validation as pure functions: statistics, schemas, anomalies, comparisons, expectations.

TensorFlow Data Validation and Great Expectations do the judging; what lies here feeds them Arrow in
bounded memory and turns their several answers into one kind of :class:`~.checks.Check`.
"""
