"""Rows and files of an MLflow server, copied as they are."""
