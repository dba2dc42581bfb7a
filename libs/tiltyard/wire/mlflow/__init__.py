"""The MLflow API's messages."""
