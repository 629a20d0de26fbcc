"""cordon, uncordon, drain: taking nodes out of service, and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import NotFound, UserError
from skyward.skyctl.applying import is_dry_run
from skyward.skyctl.kinds import NODES
from skyward.skyctl.options import DryRun, Selector, Timeout
from skyward.skyctl.session import Session, complain, say, seconds
from skyward.skyctl.waiting import TimedOut, await_goal, await_gone, parse_goal

if TYPE_CHECKING:
    from skyward.client.objects import ObjectClient

Names = Annotated[list[str] | None, typer.Argument(metavar="NODE...", show_default=False)]


def cordon(ctx: typer.Context, nodes: Names = None, selector: Selector = None, dry_run: DryRun = "none") -> None:
    """Give nodes no new work; what runs on them goes on."""
    _mark_all(ctx, nodes or [], selector, dry_run, unschedulable=True)


def uncordon(ctx: typer.Context, nodes: Names = None, selector: Selector = None, dry_run: DryRun = "none") -> None:
    """Give nodes work again."""
    _mark_all(ctx, nodes or [], selector, dry_run, unschedulable=False)


def drain(
    ctx: typer.Context,
    nodes: Names = None,
    selector: Selector = None,
    timeout: Timeout = "10m",
    delete: Annotated[
        bool, typer.Option("--delete", help="Then delete the node: its pool makes another in its place.")
    ] = False,
    dry_run: DryRun = "none",
) -> None:
    """Cordon nodes and wait until nothing runs on them. They stay, cordoned, unless --delete is given."""
    session = Session.of(ctx)
    is_dry, limit_s = is_dry_run(dry_run), seconds(timeout, "--timeout")
    failed = False
    with session.client() as client:
        namespace, deadline = session.namespace(), time.monotonic() + limit_s
        names = _names(client, namespace, nodes or [], selector)
        for name in names:
            _mark(client, namespace, name, unschedulable=True, is_dry=is_dry)
        for name in () if is_dry else names:
            try:
                _drain_one(client, namespace, name, deadline, delete=delete)
            except TimedOut:
                failed = True
                complain(
                    f"node {name} still runs tasks after {limit_s:g} s and stays cordoned: wait longer with --timeout, "
                    f"or end them with delete node {name}"
                )
    if failed:
        raise typer.Exit(1)


def _drain_one(client: ObjectClient, namespace: str, name: str, deadline: float, *, delete: bool) -> None:
    try:
        await_goal(client, NODES, namespace, name, parse_goal("condition=Drained"), deadline)
    except NotFound:
        say(f"{NODES.ref(name)} is gone")
        return
    say(f"{NODES.ref(name)} drained")
    if delete:
        answer = client.delete(NODES.plural, namespace, name)
        uid = (answer.get("metadata") or {}).get("uid", "")
        await_gone(client, NODES, namespace, name, uid, max(0.0, deadline - time.monotonic()))
        say(f"{NODES.ref(name)} deleted")


def _mark_all(ctx: typer.Context, words: list[str], selector: str | None, dry_run: str, *, unschedulable: bool) -> None:
    session = Session.of(ctx)
    is_dry = is_dry_run(dry_run)
    with session.client() as client:
        namespace = session.namespace()
        for name in _names(client, namespace, words, selector):
            _mark(client, namespace, name, unschedulable=unschedulable, is_dry=is_dry)


def _names(client: ObjectClient, namespace: str, words: list[str], selector: str | None) -> list[str]:
    """Of nodes: `NAME`, or as `get -o name` prints them."""
    if bool(words) == bool(selector):
        raise UserError("say which nodes: names or -l SELECTOR, like cordon hello-0-abc12")
    if selector:
        found = [item["metadata"]["name"] for item in client.list(NODES.plural, namespace, selector)["items"]]
        if not found:
            raise NotFound("no matching nodes found")
        return found
    prefixes = ("node/", "nodes/", "node.skyward.dev/", "nodes.skyward.dev/", "sn/")
    names = [
        next((word.removeprefix(prefix) for prefix in prefixes if word.startswith(prefix)), word) for word in words
    ]
    for name in names:
        if "/" in name:
            raise UserError(f"{name!r} is no node; cordon, uncordon and drain take names of nodes")
    return names


def _mark(client: ObjectClient, namespace: str, name: str, *, unschedulable: bool, is_dry: bool) -> None:
    verb = "cordoned" if unschedulable else "uncordoned"
    before = client.get(NODES.plural, namespace, name)
    if bool(before["spec"].get("unschedulable")) is unschedulable:
        say(f"{NODES.ref(name)} already {verb}")
        return
    client.patch(NODES.plural, namespace, name, {"spec": {"unschedulable": unschedulable}}, dry_run=is_dry)
    say(f"{NODES.ref(name)} {verb}{' (server dry run)' if is_dry else ''}")
