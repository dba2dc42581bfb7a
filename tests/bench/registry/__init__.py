"""The registry beside its peers."""
