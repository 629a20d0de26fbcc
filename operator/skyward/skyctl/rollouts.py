"""rollout: follow a pool's roll-out, look at its history, go back, make all nodes anew, pause and resume."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import Conflict, NotFound, UserError
from skyward.skyctl.ages import ago
from skyward.skyctl.applying import is_dry_run
from skyward.skyctl.kinds import NODES, POOLS, named
from skyward.skyctl.options import DryRun, Timeout
from skyward.skyctl.printing import print_columns, print_json, print_yaml
from skyward.skyctl.rollout_state import Outlook, outlook
from skyward.skyctl.session import Session, clean, say, seconds
from skyward.skyctl.waiting import Goal, await_goal

if TYPE_CHECKING:
    from skyward.api import Json
    from skyward.client.objects import ObjectClient

_TRIES = 5
"""A pool's status changes often, and each change refuses a replacement made from an older version."""
_FOR_EVER_S = 365 * 86400.0

Pools = Annotated[list[str], typer.Argument(metavar="POOL | pool NAME... | pool/NAME...", show_default=False)]
Revision = Annotated[int, typer.Option(min=0, help="Number of a revision; 0 is the newest.")]

cli = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Follow, undo, restart or pause a pool's roll-out.")


@cli.command("status", short_help="Show how far the roll-out is, until it is done.")
def status(
    ctx: typer.Context,
    what: Pools,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Until it is done.")] = True,
    timeout: Timeout = "0s",
    revision: Revision = 0,
) -> None:
    """Say what a roll-out waits for until it is done. Exit status 1 when it cannot go on, or not within --timeout."""
    session, name = Session.of(ctx), _single(what)
    limit_s = seconds(timeout, "--timeout") or _FOR_EVER_S
    with session.client() as client:
        namespace = session.namespace()
        if revision:
            _check_running(client, namespace, name, revision)
        said = ""

        def holds(body: Json | None) -> bool:
            nonlocal said
            found = _look(client, body)
            if found.line and found.line != said:
                said = found.line
                say(clean(said))
            return found.is_done

        if not watch:
            holds(client.get(POOLS.plural, namespace, name))
            return
        goal = Goal(holds, "rolled out")
        await_goal(client, POOLS, namespace, name, goal, time.monotonic() + limit_s)


@cli.command("history", short_help="Show the templates that a pool had.")
def history(
    ctx: typer.Context,
    what: Pools,
    revision: Annotated[int, typer.Option(min=0, help="Show this one in full.")] = 0,
    output: Annotated[str, typer.Option("--output", "-o", help="json or yaml.")] = "",
) -> None:
    """List the revisions of a pool's template, or show one."""
    session, name = Session.of(ctx), _single(what)
    with session.client() as client:
        listed = client.revisions(session.namespace(), name)
    chosen = _find(listed["items"], revision) if revision else None
    if output in ("json", "yaml"):
        (print_json if output == "json" else print_yaml)(chosen or listed)
    elif output:
        raise UserError(f"-o {output}: there is json and yaml")
    elif chosen is not None:
        say(f"{POOLS.ref(name)} with revision #{revision}")
        print_yaml(chosen["template"])
    else:
        say(POOLS.ref(name))
        rows = [[str(one["number"]), ago(one["createdAt"]), one["cause"] or "<none>"] for one in listed["items"]]
        print_columns([["REVISION", "AGE", "CHANGE-CAUSE"], *rows])


@cli.command("undo", short_help="Go back to an earlier template.")
def undo(
    ctx: typer.Context,
    what: Pools,
    to_revision: Annotated[int, typer.Option(min=0, help="Which one; 0 is the one before the present.")] = 0,
    dry_run: DryRun = "none",
) -> None:
    """Write an earlier revision's template into the pool's manifest; number of nodes and all else stay."""
    session, name = Session.of(ctx), _single(what)
    is_dry = is_dry_run(dry_run)
    with session.client() as client:
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                verdict = _roll_back(client, session.namespace(), name, to_revision, dry_run=is_dry)
                break
            except Conflict:
                if last:
                    raise
    say(f"{POOLS.ref(name)} {verdict}{' (server dry run)' if is_dry else ''}")


@cli.command("restart", short_help="Make all nodes of a pool anew.")
def restart(ctx: typer.Context, what: Pools, dry_run: DryRun = "none") -> None:
    """Replace every node by a new one of the same template, as the roll-out rules allow."""
    from skyward.api.meta import RESTARTED

    session, is_dry = Session.of(ctx), is_dry_run(dry_run)
    with session.client() as client:
        namespace = session.namespace()
        for name in _names(what):
            if _is_paused(client.get(POOLS.plural, namespace, name)):
                raise UserError(f"{POOLS.ref(name)} is paused: run skyctl rollout resume {name} first")
            patch = {"metadata": {"annotations": {RESTARTED: _restart_time(client, namespace, name)}}}
            client.patch(POOLS.plural, namespace, name, patch, dry_run=is_dry)
            say(f"{POOLS.ref(name)} restarted{' (server dry run)' if is_dry else ''}")


@cli.command("pause", short_help="Change nothing about a pool until it is resumed.")
def pause(ctx: typer.Context, what: Pools) -> None:
    """Set spec.paused: nodes are observed and reported, none is made, replaced or removed."""
    _set_paused(Session.of(ctx), _names(what), paused=True)


@cli.command("resume", short_help="Go on with a paused pool.")
def resume(ctx: typer.Context, what: Pools) -> None:
    """Take spec.paused back."""
    _set_paused(Session.of(ctx), _names(what), paused=False)


# --- names -------------------------------------------------------------------------------------------------------------


def _names(words: list[str]) -> list[str]:
    if len(words) == 1 and "/" not in words[0]:
        return words
    for kind, _ in (found := named(words)):
        if kind is not POOLS:
            raise UserError(f"{kind.plural} have no roll-out; pools have")
    return [name for _, name in found]


def _single(words: list[str]) -> str:
    name, *more = _names(words)
    if more:
        raise UserError("say one pool")
    return name


# --- status ------------------------------------------------------------------------------------------------------------


def _look(client: ObjectClient, body: Json | None) -> Outlook:
    """How far it is. Raises UserError when it cannot go on by itself."""
    if body is None:
        return Outlook("", is_done=False)
    meta = body["metadata"]
    found = outlook(body, lambda: client.list(NODES.plural, meta["namespace"])["items"])
    if found.obstacle:
        raise UserError(found.obstacle)
    return found


def _check_running(client: ObjectClient, namespace: str, name: str, revision: int) -> None:
    items = client.revisions(namespace, name)["items"]
    running = next((one["number"] for one in items if one["current"]), 0)
    if running != revision:
        raise UserError(f"desired revision ({revision}) is different from the running revision ({running})")


# --- undo --------------------------------------------------------------------------------------------------------------


def _roll_back(client: ObjectClient, namespace: str, name: str, number: int, *, dry_run: bool) -> str:
    from skyward.api import Pool, template_hash

    body = client.get(POOLS.plural, namespace, name)
    if _is_paused(body):
        raise UserError(
            f"cannot roll back a paused pool; resume it first with skyctl rollout resume {name} and try again"
        )
    pool = Pool.model_validate({**body, "status": {}})
    current = template_hash(pool.spec)
    items = client.revisions(namespace, name)["items"]
    others = [one for one in items if one["templateHash"] != current]
    if not number and not others:
        raise UserError(f'no rollout history found for pool "{name}"')
    target = _find(items, number) if number else others[-1]
    if target["templateHash"] == current:
        return f"skipped rollback (current template already matches revision {target['number']})"
    spec = pool.spec.with_template(target["template"])
    client.replace(POOLS.plural, namespace, name, {**body, "spec": spec.to_json()}, dry_run=dry_run)
    return "rolled back"


def _find(items: list[Json], number: int) -> Json:
    for one in items:
        if one["number"] == number:
            return one
    raise NotFound(f"unable to find specified revision {number} in history")


# --- restart, pause, resume --------------------------------------------------------------------------------------------


def _restart_time(client: ObjectClient, namespace: str, name: str) -> str:
    """Now, or later than the newest node was made when the operator's clock is ahead of ours."""
    made = [
        datetime.fromisoformat(node["metadata"]["creationTimestamp"])
        for node in client.list(NODES.plural, namespace, field_selector=f"spec.pool={name}")["items"]
    ]
    now = datetime.now(UTC).replace(microsecond=0)
    return max([now, *(at + timedelta(seconds=1) for at in made)]).strftime("%Y-%m-%dT%H:%M:%SZ")


def _set_paused(session: Session, names: list[str], *, paused: bool) -> None:
    with session.client() as client:
        namespace = session.namespace()
        for name in names:
            if _is_paused(client.get(POOLS.plural, namespace, name)) is paused:
                raise UserError(f"{POOLS.ref(name)} is {'already' if paused else 'not'} paused")
            wanted = paused or None  # the default: the manifest need not say it
            client.patch(POOLS.plural, namespace, name, {"spec": {"paused": wanted}})
            say(f"{POOLS.ref(name)} {'paused' if paused else 'resumed'}")


def _is_paused(body: Json) -> bool:
    return bool(body["spec"].get("paused"))
