"""The kinds that are served: where each is read, how it is shown, and what may be done to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from skyward.api import (
    API_VERSION,
    DEFAULT_NAMESPACE,
    GROUP,
    SERVER_NAME,
    VERSION,
    Event,
    Json,
    Node,
    Object,
    ObjectMeta,
    Pool,
    Source,
    Task,
)
from skyward.apiserver import columns
from skyward.apiserver.columns import Column
from skyward.apiserver.feeds import ComparedFeed, Feed, StoreFeed
from skyward.apiserver.selectors import FieldReader
from skyward.contracts import Clock, Store, TaskQueue

_READ = ("get", "list", "watch")


class Namespace(Object):
    """A namespace that is in use. Nothing is stored for it."""

    KIND: ClassVar[str] = "Namespace"
    PLURAL: ClassVar[str] = "namespaces"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("ns",)

    api_version: str = "v1"
    kind: Literal["Namespace"] = "Namespace"


def _plain(obj: Object) -> Json:
    """The object, its conditions without generation 0, which says nothing: `kubectl wait` would wait for it for ever."""
    body = obj.to_json()
    for condition in body.get("status", {}).get("conditions", ()):
        if not condition["observedGeneration"]:
            del condition["observedGeneration"]
    return body


@dataclass(frozen=True, slots=True)
class Resource:
    word: type[Object]
    feed: Feed
    columns: tuple[Column, ...]
    verbs: tuple[str, ...] = _READ
    subresources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Verbs by subresource."""
    selectable: Mapping[str, FieldReader] = field(default_factory=dict)
    render: Callable[[Any], Json] = _plain
    group: str = GROUP
    version: str = VERSION
    is_namespaced: bool = True
    has_short_names: bool = True
    """False where another kind of the same short names shall be meant."""

    @property
    def short_names(self) -> tuple[str, ...]:
        return self.word.SHORT_NAMES if self.has_short_names else ()

    @property
    def plural(self) -> str:
        return self.word.PLURAL

    @property
    def kind(self) -> str:
        return self.word.KIND

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def fields(self) -> Mapping[str, FieldReader]:
        return {
            "metadata.name": lambda obj: obj.metadata.name,
            "metadata.namespace": lambda obj: obj.metadata.namespace,
            **self.selectable,
        }

    def render_meta(self, obj: Object) -> Json:
        meta: Json = self.render(obj)["metadata"]
        return meta

    def key(self, namespace: str, name: str) -> str:
        return f"{namespace if self.is_namespaced else DEFAULT_NAMESPACE}/{name}"


def build_resources(store: Store, queue: TaskQueue, clock: Clock) -> tuple[Resource, ...]:
    events = StoreFeed(store, Event)
    return (
        Resource(
            Pool,
            StoreFeed(store, Pool),
            columns.POOLS,
            (*_READ, "create", "update", "patch", "delete"),
            {
                "status": ("get",),
                "scale": ("get", "update", "patch"),
                "revisions": ("get",),
                "offerings": ("get",),
                "why": ("get",),
            },
        ),
        Resource(
            Node,
            StoreFeed(store, Node),
            columns.NODES,
            (*_READ, "update", "patch", "delete"),
            {"status": ("get",), "log": ("get",), "why": ("get",)},
            {"spec.pool": _attribute("spec", "pool")},
        ),
        Resource(
            Task,
            ComparedFeed(queue.tasks, clock),
            columns.TASKS,
            (*_READ, "delete"),
            {"status": ("get",), "log": ("get",), "items": ("get",), "why": ("get",)},
            {"spec.pool": _attribute("spec", "pool"), "status.phase": _attribute("status", "phase")},
        ),
        Resource(
            Source,
            StoreFeed(store, Source),
            columns.SOURCES,
            (*_READ, "update", "patch"),
            subresources={"status": ("get",)},
        ),
        Resource(Event, events, columns.EVENTS, selectable=_event_fields("regarding")),
        *_core_resources(store, events, clock),
    )


def _core_resources(store: Store, events: Feed, clock: Clock) -> tuple[Resource, ...]:
    """What Kubernetes clients look for in its core group."""
    core: dict[str, Any] = {"group": "", "version": "v1"}
    return (
        Resource(
            Event,
            events,
            columns.EVENTS,
            selectable=_event_fields("involvedObject"),
            render=_core_event,
            has_short_names=False,
            **core,
        ),
        Resource(
            Namespace,
            ComparedFeed(_namespaces_of(store), clock),
            columns.NAMESPACES,
            render=_without_namespace,
            is_namespaced=False,
            **core,
        ),
    )


def _attribute(*path: str) -> FieldReader:
    def read(obj: Any) -> str:
        for name in path:
            obj = getattr(obj, name)
        return str(obj)

    return read


def _event_fields(subject: str) -> Mapping[str, FieldReader]:
    return {
        f"{subject}.kind": _attribute("regarding", "kind"),
        f"{subject}.namespace": _attribute("regarding", "namespace"),
        f"{subject}.name": _attribute("regarding", "name"),
        f"{subject}.uid": _attribute("regarding", "uid"),
        f"{subject}.apiVersion": lambda _: API_VERSION,
        "reason": _attribute("reason"),
        "type": _attribute("type"),
    }


def _core_event(event: Event) -> Json:
    """As core/v1, which is what `kubectl describe` and `kubectl events` ask for."""
    body = event.to_json()
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": body["metadata"],
        "involvedObject": {**body["regarding"], "apiVersion": API_VERSION},
        "reason": body["reason"],
        "message": body["note"],
        "type": body["type"],
        "count": body["count"],
        "firstTimestamp": body["firstTime"],
        "lastTimestamp": body["lastTime"],
        "source": {"component": SERVER_NAME},
        "reportingComponent": SERVER_NAME,
        "reportingInstance": "",
    }


def _without_namespace(obj: Object) -> Json:
    body = obj.to_json()
    body["metadata"].pop("namespace", None)
    return {**body, "spec": {}, "status": {"phase": "Active"}}


def _namespaces_of(store: Store) -> Callable[[], Any]:
    async def load() -> Sequence[Object]:
        pools = await store.read(lambda tx: tx.list(Pool))
        names = {DEFAULT_NAMESPACE, *(pool.metadata.namespace for pool in pools)}
        return [Namespace(metadata=ObjectMeta(name=name, uid=f"namespace-{name}")) for name in sorted(names)]

    return load
