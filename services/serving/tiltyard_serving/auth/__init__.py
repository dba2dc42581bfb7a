"""Who calls the service, and what they may ask of it."""
