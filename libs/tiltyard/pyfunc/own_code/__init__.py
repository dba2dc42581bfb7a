"""The Python files that a model brings: each version runs its own."""
