"""Pure functions: what is allowed. No I/O, no clock, no session."""
