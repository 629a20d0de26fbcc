"""Why things are as they are: the decisions about a pool, a node or a task as a story, for people and for programs."""

from skyward.apiserver.why.serving import Why

__all__ = ["Why"]
