"""How a process serves: what both services have in common on the way from a socket to a route."""
