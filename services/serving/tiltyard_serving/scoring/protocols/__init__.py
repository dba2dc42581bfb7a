"""Bytes to a payload, an output to bytes."""
