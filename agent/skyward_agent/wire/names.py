"""Names that both sides must agree on. Apart from the messages, so that it costs nothing to read them."""

SERVER_NAME = "skyward-operator"
"""Name in the certificate of the operator's listeners; clients and agents check it instead of the address, so a
tunnel's end is as good as the listener itself."""
