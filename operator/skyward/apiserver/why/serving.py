"""The `why` subresource of pools, nodes and tasks: gathers what is on record in one read, and answers with a story. Objects
that are gone are answered for as long as their decisions or events are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiohttp import web

from skyward.api import Event, Node, Object, Pool, Task, TaskItem
from skyward.apiserver.refusals import no_such_object
from skyward.apiserver.resources import Resource
from skyward.apiserver.why.nodes import NodeFacts, gone_node_story, node_story
from skyward.apiserver.why.pools import PoolFacts, gone_pool_story, pool_story
from skyward.apiserver.why.story import Story
from skyward.apiserver.why.tasks import TaskFacts, task_story
from skyward.apiserver.writing import answer
from skyward.contracts import Store, TaskQueue, Transaction
from skyward.facts import DecisionRecord


class Why:
    def __init__(self, store: Store, queue: TaskQueue) -> None:
        self._store = store
        self._queue = queue

    async def serve(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        story = await self.story(resource.word, namespace, name)
        if story is None:
            raise no_such_object(resource.plural, resource.group, name)
        return answer(story.to_json())

    async def story(self, kind: type[Object], namespace: str, name: str) -> Story | None:
        """None when there is no such object, and none on record."""
        if kind is Task:
            return await self._of_task(namespace, name)
        tell = _of_pool if kind is Pool else _of_node
        return await self._store.read(lambda tx: tell(tx, namespace, name))

    async def _of_task(self, namespace: str, name: str) -> Story | None:
        task = await self._queue.task(namespace, name)
        if task is None:
            return None
        failed = sorted({failure.node for failure in task.status.failures if failure.node})

        def work(tx: Transaction) -> tuple[PoolFacts | None, Mapping[str, Sequence[DecisionRecord]]]:
            records = {node: _newest(tx, Node, f"{namespace}/{node}") for node in failed}
            return _pool_facts(tx, f"{namespace}/{task.spec.pool.rpartition('/')[2]}"), records

        pool, node_records = await self._store.read(work)
        nodes = pool.nodes if pool is not None else ()
        held = {node.metadata.uid: self._queue.held(node.metadata.uid) for node in nodes}
        return task_story(TaskFacts(task, pool, held, node_records, await self._tried_again(task)))

    async def _tried_again(self, task: Task) -> tuple[TaskItem, ...]:
        """Its items of which an attempt did not succeed, those that are shown."""
        found: list[TaskItem] = []
        for index in sorted({failure.item for failure in task.status.failures}):
            found += await self._queue.items(task.metadata.namespace, task.metadata.name, index, 1) or ()
        return tuple(found)


def _of_pool(tx: Transaction, namespace: str, name: str) -> Story | None:
    facts = _pool_facts(tx, f"{namespace}/{name}")
    if facts is not None:
        return pool_story(facts)
    records = _newest(tx, Pool, f"{namespace}/{name}")
    return gone_pool_story(namespace, name, records) if records else None


def _of_node(tx: Transaction, namespace: str, name: str) -> Story | None:
    key = f"{namespace}/{name}"
    node = tx.get(Node, key)
    if node is not None:
        facts = NodeFacts(tx.decisions(node.metadata.uid), _events(tx, node.metadata.uid, namespace), node.spec.pool)
        return node_story(node, facts)
    records = _newest(tx, Node, key)
    if not records:
        return None
    events = _events(tx, records[-1].uid, namespace)
    return gone_node_story(namespace, name, NodeFacts(records, events, _pool_of(tx, namespace, name)))


def _pool_facts(tx: Transaction, key: str) -> PoolFacts | None:
    pool = tx.get(Pool, key)
    if pool is None:
        return None
    uid = pool.metadata.uid
    nodes = tuple(node for node in tx.list(Node, pool.metadata.namespace) if node.spec.pool_uid == uid)
    return PoolFacts(pool, nodes, tx.decisions(uid))


def _newest(tx: Transaction, kind: type[Object], key: str) -> tuple[DecisionRecord, ...]:
    """About the object that had this name last."""
    records = tx.decisions_of(kind.KIND, key)
    return tuple(record for record in records if record.uid == records[-1].uid)


def _events(tx: Transaction, uid: str, namespace: str) -> tuple[Event, ...]:
    """In the order in which they happened: within a second, that of writing."""
    found = (event for event in tx.list(Event, namespace) if event.regarding.uid == uid)
    return tuple(sorted(found, key=lambda event: int(event.metadata.resource_version or 0)))


def _pool_of(tx: Transaction, namespace: str, node: str) -> str:
    """A node is called POOL-SLOT-SUFFIX."""
    name = node.rsplit("-", 2)[0]
    known = tx.get(Pool, f"{namespace}/{name}") is not None or tx.decisions_of(Pool.KIND, f"{namespace}/{name}")
    return name if known else ""
