"""Learner events over Kafka: produced once, collected into Parquet exactly once.

An event is known by its ``source`` and its ``sequence``, which rises: that makes a repeated sending
harmless. The collector keeps its position beside the data it wrote, so that a kill at any moment
neither loses nor doubles a row.
"""
