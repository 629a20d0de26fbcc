"""What the SDK and skyctl share: where the operator is, its objects over HTTP and its tasks over the wire."""
