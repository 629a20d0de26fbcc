"""get items TASK: the items of a task, one row each; and the evidence of those that failed, for `describe task`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from skyward.errors import UserError
from skyward.skyctl.ages import ago
from skyward.skyctl.printing import print_columns, print_json, print_yaml
from skyward.skyctl.session import clean, complain, say

if TYPE_CHECKING:
    from skyward.api import Json
    from skyward.client.objects import ObjectClient

WORDS = ("items", "item")
"""As in `get items TASK`: parts of a task, and no kind of their own."""
_HEADER = ("INDEX", "STATUS", "NODE", "ATTEMPT", "SECONDS", "AGE", "MESSAGE")
_ATTEMPTS = ("INDEX", "ATTEMPT", "NODE", "OUTCOME", "SECONDS", "AGE", "TYPE", "EVIDENCE")
_NONE = "-"
_TOLD = 3
_PAGE = 500


def show(client: ObjectClient, namespace: str, tasks: Sequence[str], form: str, *, headers: bool) -> None:
    """`-o wide`: each attempt that did not succeed, with what it left behind."""
    if not tasks:
        raise UserError("say of which task: get items TASK")
    if form == "name":
        raise UserError("items have no names: leave -o name out")
    for name in tasks:
        name = name.removeprefix("task/").removeprefix("tasks/")
        found = list(_pages(client, namespace, name))
        if form in ("yaml", "json"):
            body = {"kind": "TaskItemList", "apiVersion": "skyward.dev/v1alpha1", "items": found}
            (print_yaml if form == "yaml" else print_json)(body)
            continue
        rows = _attempt_rows(found) if form == "wide" else [_row(item) for item in found]
        if rows:
            print_columns([*([_ATTEMPTS if form == "wide" else _HEADER] if headers else []), *rows])
        else:
            complain(f"task {name} has no {'attempts that did not succeed' if form == 'wide' else 'items'}")


def evidence(client: ObjectClient, body: Json, indent: str) -> None:
    """How the last failed items of this task ended, and what their last attempts left behind."""
    meta, failures = body["metadata"], body.get("status", {}).get("failures") or ()
    failed = list(dict.fromkeys(failure["item"] for failure in reversed(failures)))[:_TOLD]
    for index in sorted(failed):
        page = client.items(meta["namespace"], meta["name"], limit=1, after=str(index))["items"]
        if page and page[0]["phase"] == "Failed":
            _tell(page[0], indent)


def _tell(item: Json, indent: str) -> None:
    say(f"Item {item['index']}, {item['outcome']}:")
    if item.get("message"):
        _field("message", clean(item["message"]), indent)
    last = (item.get("attempts") or [{}])[-1]
    left = {**(last.get("evidence") or {}), "traceback": last.get("traceback", "").rstrip("\n")}
    for key, value in left.items():
        if value:
            _field(key, clean(value), indent)


def _field(label: str, text: str, indent: str) -> None:
    lines = text.splitlines() or [""]
    if len(lines) == 1:
        say(f"{indent}{label}: {lines[0]}")
        return
    say(f"{indent}{label}:")
    for line in lines:
        say(f"{indent}{indent}{line}")


def _pages(client: ObjectClient, namespace: str, name: str) -> Iterator[Json]:
    after = ""
    while True:
        page = client.items(namespace, name, limit=_PAGE, after=after)
        yield from page["items"]
        after = page["metadata"].get("continue", "")
        if not after:
            return


def _row(item: Json) -> list[str]:
    return [
        str(item["index"]),
        item.get("outcome") or item["phase"],
        item.get("node") or _NONE,
        str(item.get("attempt", 0)),
        f"{item.get('seconds', 0.0):.2f}",
        _age(item.get("finishedAt")),
        item.get("message", ""),
    ]


def _attempt_rows(items: Sequence[Json]) -> list[list[str]]:
    return [
        [
            str(item["index"]),
            str(one["attempt"]),
            one["node"] or _NONE,
            one["outcome"],
            f"{one.get('seconds', 0.0):.2f}",
            _age(one["at"]),
            one.get("type") or _NONE,
            "; ".join(f"{key}={' '.join(value.split())}" for key, value in (one.get("evidence") or {}).items()),
        ]
        for item in items
        for one in item.get("attempts") or ()
    ]


def _age(time: Any) -> str:
    return ago(time) if time else _NONE
