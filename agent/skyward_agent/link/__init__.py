"""The way to the gateway, and the spool that keeps results until they have arrived there."""
