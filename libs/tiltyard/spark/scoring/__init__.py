"""What the driver decides before any row is read."""
