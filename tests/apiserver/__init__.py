"""The HTTP API over real loopback TLS."""
