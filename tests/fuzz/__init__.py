"""Hostile bodies and model directories against running services: `python -m tests.fuzz --minutes 10`."""
