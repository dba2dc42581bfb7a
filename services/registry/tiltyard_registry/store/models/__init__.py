"""Registered models, their versions, aliases and tags."""
