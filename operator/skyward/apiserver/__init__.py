"""The HTTP API: Kubernetes paths, objects and errors, so that kubectl and skyctl speak to it alike.

Desire is never written here: a pool's write goes through `ManifestWriter` into its file. Status is written by
controllers only, so `/status` can be read and nothing else.
"""

from skyward.apiserver.server import ApiServer

__all__ = ["ApiServer"]
