"""Files: who may change them, what is pinned, where they lie."""
