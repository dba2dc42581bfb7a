"""Doors that are one statement."""
