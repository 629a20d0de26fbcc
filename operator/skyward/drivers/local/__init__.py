"""The local driver: a node is a directory of this host with an SSH server of its own.

Nothing is imported here, so that the server program (`sshd`) starts fast; the driver is in `driver`.
"""
