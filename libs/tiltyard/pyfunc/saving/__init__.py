"""Writes a model directory."""
