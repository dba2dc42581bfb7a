"""The registry's own commands: serve it, migrate it, clean it, move an MLflow server in."""
