"""Names, identities and versions that every object carries."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from skyward.api.base import API_VERSION, Time, Word

DEFAULT_NAMESPACE = "default"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME_BYTES = 50
"""Node names add a suffix to the pool's and must still fit a host name of 63."""


def check_name(value: str) -> str:
    """A name that is also a valid host name: RFC 1123 label of at most 50 characters."""
    if not _LABEL.fullmatch(value) or len(value) > _NAME_BYTES:
        raise ValueError(
            f"{value!r} is not a name: use at most {_NAME_BYTES} lower-case letters, digits and '-', "
            "beginning and ending with a letter or digit"
        )
    return value


Name = Annotated[str, AfterValidator(check_name)]

RECONCILE_REQUESTED = "skyward.dev/reconcile-requested-at"
APPROVED = "skyward.dev/approved"
"""On a Source: the hash of the held deletion that may go on."""
ADOPTED = "skyward.dev/adopted"
"""On a Source: the hash of the unknown instances that are taken over."""
READ_DESPITE = "skyward.dev/read-despite"
"""On a Source: the sign of an unfinished Git operation in spite of which the files are read, like `index.lock`."""
RESTARTED = "skyward.dev/restarted-at"
"""On a pool: its nodes that were made before this time are replaced."""
REPLACE = "skyward.dev/replace"
"""On a node: a user wants to have it replaced, within the pool's budget."""
DO_NOT_DISRUPT = "skyward.dev/do-not-disrupt"
"""On a pool or a node: no working node is replaced by our own choice."""
KEEP_ON_FAILURE = "skyward.dev/keep-on-failure"
"""On a pool or a node: the instance of a failed node is kept for a look until the annotation goes or the node is deleted."""
FINALIZER = "skyward.dev/instances"
"""Keeps a deleted pool until its instances are proved gone."""


class ObjectMeta(Word):
    name: str
    namespace: str = DEFAULT_NAMESPACE
    uid: str = ""
    """Set once by the operator; a re-created object of the same name has another."""
    generation: int = 1
    """Raised when the spec changes."""
    resource_version: str = ""
    """Store-wide monotonic; raised with every write. Opaque to clients."""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()


class Object(Word):
    """A named, versioned thing of the API: Pool, Node, Task, Source or Event."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ()

    api_version: str = API_VERSION
    kind: str
    metadata: ObjectMeta

    @property
    def key(self) -> str:
        """`namespace/name`: what work queues and caches call this object."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
