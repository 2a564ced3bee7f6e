"""What is known of each enrolment today, for the feature store."""
