"""The registry service: catalogs, models, versions, aliases, stages, runs and artifacts."""
