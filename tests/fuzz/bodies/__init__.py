"""Requests whose bodies are hostile, each by a number."""
