"""The messages of our own additions."""
