"""The quiet end of a run: what must come true once the faults are over, asked of the operator as a user would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from skyward.client.config import load_config
from skyward.client.objects import ObjectClient
from skyward.errors import NotFound, SkyError
from tests.chaos.place import Place, Record, append, records
from tests.chaos.pools import PoolPlan
from tests.chaos.stage import Stage

_NAMESPACE = "default"


class Rest:
    """Each step returns whether it came true in `bound_s`, and writes down which it was."""

    def __init__(self, place: Place, stage: Stage, pools: Sequence[PoolPlan], bound_s: float) -> None:
        self._place = place
        self._stage = stage
        self._pools = pools
        self._bound_s = bound_s
        self._seen = ""

    def heal(self) -> bool:
        wanted = {f"{_NAMESPACE}/{pool.name}": pool.nodes for pool in self._pools}
        return self._await("the pools are not all ready", self._are_ready, "healed", wanted=wanted)

    def be_witnessed(self) -> bool:
        """Stay at rest until the auditor has looked."""
        self._seen = "see auditor.log"
        return self._await("the auditor did not look", self._is_witnessed, "witnessed")

    def finish_work(self, is_finished: Callable[[], bool]) -> bool:
        self._seen = "see journal.jsonl"
        return self._await("the workload has not got all its answers", is_finished, "answered")

    def empty(self) -> bool:
        """Delete every pool; a delete through the API needs no approval."""
        return self._await("the deleted pools are not gone", self._are_gone, "emptied")

    def _await(self, what: str, is_so: Callable[[], bool], op: str, **values: object) -> bool:
        begin = time.monotonic()
        if not self._stage.play(is_so, self._bound_s):
            append(self._place.actions, "gave up", what=what, after_s=self._bound_s, seen=self._seen)
            return False
        append(self._place.actions, op, seconds=round(time.monotonic() - begin, 1), **values)
        return True

    def _are_ready(self) -> bool:
        return self._ask(lambda client: all([self._is_ready(client, pool) for pool in self._pools]))

    def _is_ready(self, client: ObjectClient, pool: PoolPlan) -> bool:
        item = client.get("pools", _NAMESPACE, pool.name)
        status = item["status"]
        ready: Record = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
        counts = {name: status.get(name, 0) for name in ("nodes", "ready", "upToDate")}
        self._seen = f"{pool.name} has {counts}; {ready.get('reason')}: {ready.get('message')}"
        return (
            ready.get("status") == "True"
            and item["spec"]["nodes"] == pool.nodes
            and status.get("observedGeneration") == item["metadata"]["generation"]
            and set(counts.values()) == {pool.nodes}
        )

    def _is_witnessed(self) -> bool:
        return any(record["op"] == "rest" for record in records(self._place.truth))

    def _are_gone(self) -> bool:
        return self._ask(self._delete_all)

    def _delete_all(self, client: ObjectClient) -> bool:
        items: list[dict[str, Any]] = client.list("pools", _NAMESPACE)["items"]
        for item in items:
            if not item["metadata"].get("deletionTimestamp"):
                client.delete("pools", _NAMESPACE, item["metadata"]["name"])
        self._seen = f"pools left: {[item['metadata']['name'] for item in items]}"
        return not items

    def _ask(self, question: Callable[[ObjectClient], bool]) -> bool:
        """False while the operator does not answer, or knows nothing of it yet."""
        try:
            with ObjectClient(load_config(self._place.config)) as client:
                return question(client)
        except NotFound as error:
            self._seen = str(error)
        except SkyError as error:
            self._seen = f"{type(error).__name__}: {error}"
        return False
