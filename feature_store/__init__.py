"""The feature store: features defined once, correct in time, the same in training and serving."""
