"""Task traffic of agents and clients: wire frames on standing TLS connections, one listener for both."""
