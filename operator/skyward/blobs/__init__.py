"""The bytes of large payloads, by digest: a local directory, or a bucket."""
