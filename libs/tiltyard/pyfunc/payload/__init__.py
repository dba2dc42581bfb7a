"""Bytes of a request to typed data, and outputs of a model to bytes."""
