"""The MLflow API."""
