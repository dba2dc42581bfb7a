"""What is known of estimators by their classes."""
