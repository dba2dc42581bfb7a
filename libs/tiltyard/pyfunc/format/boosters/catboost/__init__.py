"""CatBoost's own files, `cbm`: what lies in them, part by part, checked before CatBoost reads it."""
