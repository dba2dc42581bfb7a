"""One scoring request, from bytes to bytes."""
