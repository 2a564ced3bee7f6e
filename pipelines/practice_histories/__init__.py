"""What each learner has practised, for the feature store."""
