"""Unity Catalog's messages."""
