"""The scoring service's own command."""
