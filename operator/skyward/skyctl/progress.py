"""Long work, shown: a live table of nodes on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from skyward.skyctl.session import clean, say

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from skyward.api import Json
    from skyward.client.objects import ObjectClient

_POLL_S = 0.25
_GONE = "gone"
_ENDS = {"Ready": "green", "Failed": "red", _GONE: "dim"}
"""What a node does not move on from by itself, with its colour."""


class Progress:
    """Shows nodes and their status until told to end. Use in `with`."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._seen: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._reached: dict[str, float] = {}
        """By name: seconds from its first sight to its present status."""
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(refresh_per_second=8, transient=False)
            self._live.__enter__()
        else:
            say(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, rows: dict[str, str]) -> None:
        """Status by name, as it is now."""
        now = time.monotonic()
        gone = dict.fromkeys(self._seen.keys() - rows.keys(), _GONE)
        for name, status in {**gone, **rows}.items():
            if self._seen.get(name) != status:
                self._note(name, status, now)
                self._seen[name] = status
        if self._live is not None:
            self._live.update(self._table(now))

    def _note(self, name: str, status: str, now: float) -> None:
        begun = self._since.setdefault(name, now)
        self._reached[name] = now - begun
        if self._live is None:
            say(f"  {name}: {clean(status)} ({now - begun:.1f} s)")

    def _table(self, now: float) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None)
        for column in ("NODE", "STATUS", "SECONDS"):
            table.add_column(column)
        for name, status in sorted(self._seen.items()):
            seconds = self._reached[name] if status in _ENDS else now - self._since[name]
            table.add_row(Text(name), Text(clean(status), style=_ENDS.get(status, "")), f"{seconds:.1f}")
        return Group(Text(f"{self._title} ({now - self._began:.0f} s)"), table)


def follow(
    client: ObjectClient,
    title: str,
    is_done: Callable[[list[Json]], bool],
    keys: set[tuple[str, str]],
    timeout_s: float,
) -> bool:
    """Show the nodes of these pools (namespace, name) until `is_done` of the pools. False when time ran out."""
    deadline = time.monotonic() + timeout_s
    with Progress(title) as progress:
        while True:
            pools = [pool for pool in client.list("pools")["items"] if _key(pool) in keys]
            progress.show(_nodes(client, keys))
            if is_done(pools):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)


def _nodes(client: ObjectClient, keys: set[tuple[str, str]]) -> dict[str, str]:
    table = client.table("nodes")
    names = [column["name"] for column in table["columnDefinitions"]]
    name, pool, status = (names.index(wanted) for wanted in ("Name", "Pool", "Status"))
    return {
        row["cells"][name]: row["cells"][status]
        for row in table["rows"]
        if (row["object"]["metadata"]["namespace"], row["cells"][pool]) in keys
    }


def _key(pool: Json) -> tuple[str, str]:
    return pool["metadata"]["namespace"], pool["metadata"]["name"]
