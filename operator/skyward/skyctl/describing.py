"""describe: one object in full, as a page to read: status, conditions, phases, what failed, and its events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyward.errors import NotFound
from skyward.skyctl import task_items
from skyward.skyctl.ages import ago
from skyward.skyctl.kinds import EVENTS, NODES, POOLS, TASKS, Kind, targets
from skyward.skyctl.options import Selector, Words
from skyward.skyctl.printing import TablePrinter, print_columns
from skyward.skyctl.session import Session, clean, complain, say

if TYPE_CHECKING:
    from skyward.api import Json
    from skyward.client.objects import ObjectClient

_TABLES = ("conditions", "phases", "failures", "rejected")
_TEXTS = ("failure",)
_INDENT = "  "


def describe(
    ctx: typer.Context,
    what: Words,
    selector: Selector = None,
    show_events: Annotated[bool, typer.Option("--show-events/--no-show-events")] = True,
) -> None:
    """Show objects in full, with their events."""
    session = Session.of(ctx)
    with session.client() as client:
        namespace = session.namespace()
        found: list[tuple[Kind, Json]] = []
        missing: list[tuple[Kind, str, NotFound]] = []
        for kind, name in targets(what):
            if name is None:
                found += [(kind, item) for item in client.list(kind.plural, namespace, selector)["items"]]
                continue
            try:
                found.append((kind, client.get(kind.plural, namespace, name)))
            except NotFound as error:
                missing.append((kind, name, error))
        for index, (kind, body) in enumerate(found):
            if index:
                say("\n")
            _page(client, kind, body, show_events=show_events)
        for kind, name, absent in missing:
            complain(str(absent))
            _epitaph(client, kind, namespace, name)
    if missing:
        raise typer.Exit(1)


def _epitaph(client: ObjectClient, kind: Kind, namespace: str, name: str) -> None:
    """What is still known of an object that is gone: its events outlive it for a while."""
    fields = f"regarding.kind={kind.kind},regarding.name={name}"
    table = client.table(EVENTS.plural, namespace, field_selector=fields)
    if table.get("rows"):
        _sub_table(f"What happened to {kind.singular} {name}", table)


def _page(client: ObjectClient, kind: Kind, body: Json, *, show_events: bool) -> None:
    meta, status = body["metadata"], dict(body.get("status") or {})
    since = meta.get("creationTimestamp")
    rows: list[tuple[str, Any]] = [
        ("Name:", meta["name"]),
        ("Namespace:", meta["namespace"]),
        ("Kind:", kind.kind),
        ("UID:", meta.get("uid", "")),
        ("Labels:", _pairs(meta.get("labels"))),
        ("Annotations:", _pairs(meta.get("annotations"))),
        ("Created:", f"{since} ({ago(since)} ago)" if since else "<unknown>"),
    ]
    if "deletionTimestamp" in meta:
        rows.append(("Deleting:", f"since {meta['deletionTimestamp']} ({ago(meta['deletionTimestamp'])})"))
    rows += _summary(client, kind, body)
    print_columns([(label, str(value)) for label, value in rows])
    for title in ("spec", *(["regarding"] if kind is EVENTS else [])):
        if body.get(title):
            _section(title, _as_written(body[title]) if kind is POOLS else body[title])
    special = {name: status.pop(name, None) for name in (*_TABLES, *_TEXTS)}
    if status:
        _section("status", status)
    _conditions(kind, special["conditions"])
    _phases(special["phases"])
    _failures(special["failures"])
    if kind is TASKS:
        task_items.evidence(client, body, _INDENT)
    _rejected(special["rejected"])
    if special["failure"]:
        _text("Failure", special["failure"])
    if kind is POOLS:
        _nodes(client, meta)
    if show_events and kind is not EVENTS:
        _events(client, kind, meta)


def _summary(client: ObjectClient, kind: Kind, body: Json) -> list[tuple[str, str]]:
    """The word that `get` prints, and the sentence behind it."""
    meta, status = body["metadata"], body.get("status") or {}
    try:
        table = client.table(kind.plural, meta["namespace"], meta["name"])
    except NotFound:
        return []  # it went meanwhile
    names = [column["name"] for column in table["columnDefinitions"]]
    if "Status" not in names:
        return []
    word = str(table["rows"][0]["cells"][names.index("Status")])
    said = {item["type"]: item.get("message", "") for item in status.get("conditions") or ()}
    words = [*reversed(word.replace("ManifestInvalid", "Accepted").replace("Conflict", "Accepted").split(",")), "Ready"]
    why = status.get("failure", "").partition("\n")[0] or status.get("retireReason")
    why = why or next((said[type_] for type_ in words if said.get(type_)), "")
    return [("Status:", word), *([("Because:", why)] if why else [])]


def _as_written(spec: Json) -> Json:
    """A pool's spec with its places as short as a user writes them."""
    from skyward.api import PoolSpec

    try:
        short = PoolSpec.model_validate(spec).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    except ValueError:
        return spec
    return {**spec, **{name: short[name] for name in ("providers", "offerings") if name in short}}


def _section(title: str, value: Json) -> None:
    say(f"{title.capitalize()}:")
    _tree(value, _INDENT)


def _tree(value: Any, indent: str) -> None:
    """Fields, and fields of fields; what is empty is left out."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not _is_empty(item):
                _field(f"{key}:", item, indent)
        return
    for item in value:
        if not isinstance(item, dict):
            _field("-", item, indent)
            continue
        kept = [(key, part) for key, part in item.items() if not _is_empty(part)]
        for index, (key, part) in enumerate(kept):
            _field(f"{'  ' if index else '- '}{key}:", part, indent, extra=_INDENT)


def _field(label: str, value: Any, indent: str, extra: str = "") -> None:
    if isinstance(value, dict | list):
        say(f"{indent}{label}")
        _tree(value, indent + extra + _INDENT)
    elif isinstance(value, str) and "\n" in value:
        say(f"{indent}{label}")
        for line in clean(value).splitlines():
            say(f"{indent}{extra}{_INDENT}{line}")
    else:
        say(f"{indent}{label} {clean(_text_of(value))}")


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_empty(item) for item in value.values())
    return value in ("", None, [])


def _text_of(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(title: str, header: Sequence[str], rows: list[list[str]]) -> None:
    if rows:
        say(f"{title}:")
        print_columns([header, *rows], _INDENT)


def _conditions(kind: Kind, found: list[Json] | None) -> None:
    from skyward.api import NodeCondition, PoolCondition

    order: list[str] = [*(PoolCondition if kind is POOLS else NodeCondition)]
    rows = [
        [item["type"], item["status"], item["reason"], ago(item["lastTransitionTime"]), item.get("message", "")]
        for item in sorted(
            found or (), key=lambda item: order.index(item["type"]) if item["type"] in order else len(order)
        )
    ]
    _table("Conditions", ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)


def _phases(found: list[Json] | None) -> None:
    rows = [[item["name"], f"{item['seconds']:.2f}"] for item in found or ()]
    if rows:
        rows.append(["(all)", f"{sum(item['seconds'] for item in found or ()):.2f}"])
    _table("Phases", ("PHASE", "SECONDS"), rows)


def _failures(found: list[Json] | None) -> None:
    rows = [
        [
            str(item["item"]),
            str(item["attempt"]),
            item["node"] or "-",
            item["outcome"],
            ago(item["at"]),
            item["message"],
        ]
        for item in found or ()
    ]
    _table("Failures", ("ITEM", "ATTEMPT", "NODE", "OUTCOME", "AGE", "MESSAGE"), rows)


def _rejected(found: list[Json] | None) -> None:
    rows = [
        [f"{item['file']}:{item['line']}" if item["line"] else item["file"], item["field"] or "-", item["message"]]
        for item in found or ()
    ]
    _table("Rejected", ("FILE", "FIELD", "MESSAGE"), rows)


def _text(title: str, text: str) -> None:
    say(f"{title}:")
    for line in clean(text).splitlines():
        say(f"{_INDENT}{line}")


def _nodes(client: ObjectClient, meta: Json) -> None:
    table = client.table(NODES.plural, meta["namespace"], label_selector=f"skyward.dev/pool={meta['name']}")
    _sub_table("Nodes", table)


def _events(client: ObjectClient, kind: Kind, meta: Json) -> None:
    fields = f"regarding.kind={kind.kind},regarding.name={meta['name']}"
    if meta.get("uid"):
        fields += f",regarding.uid={meta['uid']}"
    _sub_table("Events", client.table(EVENTS.plural, meta["namespace"], field_selector=fields))


def _sub_table(title: str, table: Json) -> None:
    if not table.get("rows"):
        say(f"{title}: <none>")
        return
    say(f"{title}:")
    TablePrinter(wide=False, with_namespace=False, indent=_INDENT).show(table)


def _pairs(found: dict[str, str] | None) -> str:
    return ", ".join(f"{key}={value}" for key, value in (found or {}).items()) or "<none>"
