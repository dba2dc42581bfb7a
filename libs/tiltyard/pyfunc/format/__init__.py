"""A model directory, read without running code of its author."""
