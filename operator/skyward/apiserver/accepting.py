"""Content negotiation: which form of an object the client asked for, first one that we have."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.apiserver.refusals import Refusal

TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
PARTIAL_LIST = "PartialObjectMetadataList"
DISCOVERY = "APIGroupDiscoveryList"

_VERSIONS = {
    TABLE: ("meta.k8s.io", ("v1", "v1beta1")),
    PARTIAL: ("meta.k8s.io", ("v1", "v1beta1")),
    PARTIAL_LIST: ("meta.k8s.io", ("v1", "v1beta1")),
    DISCOVERY: ("apidiscovery.k8s.io", ("v2", "v2beta1")),
}
_JSON = ("application/json", "application/*", "*/*")


@dataclass(frozen=True, slots=True)
class Form:
    """How to write an answer. `kind` is empty for the object itself."""

    kind: str = ""
    group: str = ""
    version: str = ""

    @property
    def content_type(self) -> str:
        if not self.kind:
            return "application/json"
        return f"application/json;g={self.group};v={self.version};as={self.kind}"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"


def choose(accept: str, *offered: str) -> Form:
    """The first acceptable form among plain JSON and those offered. Raises Refusal 406 when there is none."""
    if not accept.strip():
        return Form()
    for part in accept.split(","):
        media, *rest = (piece.strip() for piece in part.split(";"))
        if media.lower() not in _JSON:
            continue
        pairs = dict(piece.partition("=")[::2] for piece in rest)
        kind = pairs.get("as", "")
        if not kind:
            return Form()
        if kind in offered:
            group, versions = _VERSIONS[kind]
            if pairs.get("g") == group and pairs.get("v") in versions:
                return Form(kind, group, pairs["v"])
    raise Refusal(406, "NotAcceptable", "only application/json is served; send it in the Accept header")
