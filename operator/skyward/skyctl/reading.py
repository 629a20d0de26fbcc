"""logs: what user code wrote in a task or on a node."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import UserError
from skyward.skyctl.kinds import NODES, TASKS, named
from skyward.skyctl.reconnecting import await_operator
from skyward.skyctl.session import Session, seconds

if TYPE_CHECKING:
    from skyward.client.objects import ObjectClient


def logs(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="TASK | task/NAME | node/NAME")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it is written.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only the last lines.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only what came since, like 10m.")] = None,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the attempt before the newest.")] = False,
    item: Annotated[int | None, typer.Option("--item", min=0, help="Of one item of a map or broadcast.")] = None,
    prefix: Annotated[
        bool | None,
        typer.Option("--prefix/--no-prefix", help="Each line with its node and item; so by itself for many items."),
    ] = None,
) -> None:
    """Show the output of a task, or of everything that ran on a node."""
    ((kind, name),) = named([what if "/" in what else f"{TASKS.singular}/{what}"])
    if kind not in (TASKS, NODES):
        raise UserError(f"{kind.plural} have no logs; tasks and nodes do: task/NAME or node/NAME")
    if previous and follow:
        raise UserError("-p shows an attempt that is over: leave out -f")
    since_s = None if since is None else max(1, round(seconds(since, "--since")))
    from skyward.client.logs import LogQuery, LogText, records

    session = Session.of(ctx)
    with session.client() as client:
        namespace = session.namespace()
        has_items = kind is TASKS and item is None and _items(client, namespace, name) > 1
        text = LogText(prefix=has_items if prefix is None else prefix, items=has_items)
        query = LogQuery(kind.plural, namespace, name, follow, tail, since_s, item, previous)
        for record in records(client, query, lambda error: await_operator(client, error)):
            _write(text.of(record))
        _write(text.rest())


def _items(client: ObjectClient, namespace: str, name: str) -> int:
    counts = client.get(TASKS.plural, namespace, name)["status"].get("items") or {}
    return sum(counts.values())


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
