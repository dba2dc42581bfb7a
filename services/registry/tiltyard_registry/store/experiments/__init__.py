"""Experiments and the logged models in them."""
