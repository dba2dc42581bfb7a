"""From a source to a version whose files are frozen."""
