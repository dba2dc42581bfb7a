"""A batch job, from the check before it to the record of it."""
