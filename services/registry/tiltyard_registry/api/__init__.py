"""Thin handlers: the MLflow REST API, the Unity Catalog REST API and our own `/api/tiltyard/v1`."""
