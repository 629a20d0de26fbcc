"""The synced cache: every Pool and Node in memory, so that a pass that changes nothing costs no statement.

Filled by one bulk read, then kept by the store's own notifications, which arrive before the writer's caller goes on:
whoever has written something sees it here at once. Objects are immutable; take them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from skyward.api import Node, Object, Pool
from skyward.contracts import Change, Store, Transaction, Verb

O = TypeVar("O", bound=Object)  # noqa: E741
Handler = Callable[[Change, Object | None], None]
"""Takes a change, and the object as it was before if it was there."""
CACHED: tuple[type[Object], ...] = (Pool, Node)


class ObjectCache:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._objects: dict[type[Object], dict[str, Object]] = {kind: {} for kind in CACHED}
        self._versions: dict[tuple[str, str], int] = {}
        self._nodes_by_pool: dict[str, dict[str, Node]] = {}
        self._nodes_by_uid: dict[str, str] = {}
        self._nodes_by_name: dict[str, dict[str, Node]] = {}
        """By the id of their instance, and by that of their launch."""
        self._handlers: dict[type[Object], list[Handler]] = {kind: [] for kind in CACHED}
        self._early: list[Change] | None = []
        self._stop: Callable[[], None] | None = None

    async def start(self) -> None:
        """Read everything, then follow. Must be done before anyone decides from this cache."""
        self._stop = self._store.subscribe(self._changed)
        version, objects = await self._store.read(_read_all)
        early, self._early = self._early or [], None
        for obj in objects:
            self._apply(Change(int(obj.metadata.resource_version or version), Verb.ADDED, obj))
        self._changed([change for change in early if change.resource_version > version])

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    def on_change(self, kind: type[Object], handler: Handler) -> None:
        """Call back after each change of this kind was taken in, those of the first read included."""
        self._handlers[kind].append(handler)

    def get(self, kind: type[O], key: str) -> O | None:
        found = self._objects[kind].get(key)
        return found if isinstance(found, kind) else None

    def list(self, kind: type[O]) -> tuple[O, ...]:
        return tuple(obj for obj in self._objects[kind].values() if isinstance(obj, kind))

    def keys(self, kind: type[Object]) -> tuple[str, ...]:
        return tuple(self._objects[kind])

    def nodes_of(self, pool_uid: str) -> tuple[Node, ...]:
        """Every node of this pool, by slot and name; leaving and failed ones included."""
        nodes = self._nodes_by_pool.get(pool_uid, {}).values()
        return tuple(sorted(nodes, key=lambda node: (node.spec.slot, node.metadata.name)))

    def count_nodes(self, pool_uid: str) -> int:
        return len(self._nodes_by_pool.get(pool_uid, ()))

    def node_by_uid(self, uid: str) -> Node | None:
        key = self._nodes_by_uid.get(uid)
        return self.get(Node, key) if key is not None else None

    def nodes_naming(self, instance_or_launch: str) -> tuple[Node, ...]:
        """The nodes whose status names this instance, of whatever provider, or this launch."""
        return tuple(self._nodes_by_name.get(instance_or_launch, {}).values())

    def _changed(self, changes: Sequence[Change]) -> None:
        if self._early is not None:
            self._early.extend(changes)
            return
        for change in changes:
            self._apply(change)

    def _apply(self, change: Change) -> None:
        obj = change.object
        kind = type(obj)
        if kind not in self._objects:
            return
        identity = (obj.kind, obj.key)
        if change.resource_version <= self._versions.get(identity, 0):
            return
        if change.verb is Verb.DELETED:
            self._versions.pop(identity, None)
        else:
            self._versions[identity] = change.resource_version
        before = self._objects[kind].pop(obj.key, None)
        self._unindex(before)
        if change.verb is not Verb.DELETED:
            self._objects[kind][obj.key] = obj
            self._index(obj)
        for handler in self._handlers[kind]:
            handler(change, before)

    def _index(self, obj: Object) -> None:
        if isinstance(obj, Node):
            self._nodes_by_pool.setdefault(obj.spec.pool_uid, {})[obj.key] = obj
            self._nodes_by_uid[obj.metadata.uid] = obj.key
            for name in _names(obj):
                self._nodes_by_name.setdefault(name, {})[obj.key] = obj

    def _unindex(self, obj: Object | None) -> None:
        if not isinstance(obj, Node):
            return
        siblings = self._nodes_by_pool.get(obj.spec.pool_uid, {})
        siblings.pop(obj.key, None)
        if not siblings:
            self._nodes_by_pool.pop(obj.spec.pool_uid, None)
        self._nodes_by_uid.pop(obj.metadata.uid, None)
        for name in _names(obj):
            namesakes = self._nodes_by_name.get(name, {})
            namesakes.pop(obj.key, None)
            if not namesakes:
                self._nodes_by_name.pop(name, None)


def _read_all(tx: Transaction) -> tuple[int, tuple[Object, ...]]:
    objects: Iterable[Object] = (obj for kind in CACHED for obj in tx.list(kind))
    return tx.version(), tuple(objects)


def _names(node: Node) -> frozenset[str]:
    return frozenset(name for name in (node.status.provider_id, node.status.launch) if name)
