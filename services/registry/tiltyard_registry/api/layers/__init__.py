"""ASGI layers before the router."""
