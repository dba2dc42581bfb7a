"""Our own additions."""
