"""What all handlers stand on."""
