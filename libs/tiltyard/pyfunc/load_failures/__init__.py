"""What a person is told about a model that cannot be loaded."""
