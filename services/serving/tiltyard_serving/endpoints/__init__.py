"""Names with traffic."""
