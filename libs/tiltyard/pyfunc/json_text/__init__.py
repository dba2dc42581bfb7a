"""JSON texts: within bounds, in pieces where they are large."""
