"""Runs, experiments and logged models, by the stock client."""
