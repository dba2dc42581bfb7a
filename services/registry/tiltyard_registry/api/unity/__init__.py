"""Unity Catalog's API."""
