"""The batch library beside its peers."""
