"""Features as they were known at moments of the past: exact joins over Parquet."""
