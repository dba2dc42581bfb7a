"""Work that outlives a request: rows, and loops that hold a lease."""
