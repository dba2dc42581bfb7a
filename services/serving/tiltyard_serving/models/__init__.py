"""One served model, from its files to its end."""
