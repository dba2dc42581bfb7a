"""Verified models on this host."""
