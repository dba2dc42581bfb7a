"""Requests predicted together."""
