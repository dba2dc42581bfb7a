"""The scoring protocols: decode, lease, submit, encode."""
