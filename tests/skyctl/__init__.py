"""skyctl against a real API server."""
