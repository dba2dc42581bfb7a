"""The scoring service beside its peers."""
