"""Who may do what, by every route of the registry."""
