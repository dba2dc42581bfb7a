"""Commands about who is known to a registry and what they may do."""
