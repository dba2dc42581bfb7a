"""Models to attack, and model directories that are hostile."""
