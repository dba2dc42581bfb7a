"""What a model needs in order to run."""
