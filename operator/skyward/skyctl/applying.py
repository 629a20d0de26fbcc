"""apply, diff, validate: from manifests to the operator, or only as far as a look."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import typer

from skyward.errors import Conflict, NotFound, SkyError, UserError
from skyward.skyctl import manifests
from skyward.skyctl.kinds import POOLS
from skyward.skyctl.options import DryRun, Files
from skyward.skyctl.printing import to_yaml
from skyward.skyctl.session import Session, clean, complain, say

if TYPE_CHECKING:
    from skyward.api import Json, Pool
    from skyward.client.objects import ObjectClient

_TRIES = 5
"""A pool's status changes often, and each change refuses a replacement made from an older version."""


def apply(ctx: typer.Context, filename: Files, dry_run: DryRun = "none") -> None:
    """Make pools as their manifests say. Labels and spec become the file's; annotations are added to."""
    session = Session.of(ctx)
    is_dry = is_dry_run(dry_run)
    pools = manifests.pools(filename, session)
    with session.client() as client:
        for pool in pools:
            verdict = apply_pool(client, pool, dry_run=is_dry)
            say(f"{POOLS.ref(pool.metadata.name)} {verdict}{' (server dry run)' if is_dry else ''}")


def apply_pool(client: ObjectClient, pool: Pool, *, dry_run: bool = False) -> str:
    """`created`, `configured` or `unchanged`. Raises Conflict when the pool keeps changing under our hands."""
    namespace, name = pool.metadata.namespace, pool.metadata.name
    for last in (False,) * (_TRIES - 1) + (True,):
        live = _live(client, pool)
        try:
            if live is None:
                client.create(POOLS.plural, namespace, manifests.body_of(pool), dry_run=dry_run)
                return "created"
            wanted = _wanted(live, pool)
            if wanted == live:
                return "unchanged"
            client.replace(POOLS.plural, namespace, name, wanted, dry_run=dry_run)
            return "configured"
        except Conflict:
            if last:
                raise
    raise AssertionError("the last try returns or raises")


def diff(ctx: typer.Context, filename: Files) -> None:
    """What apply would change. Exit status 0: nothing, 1: something, 2: it could not be told."""
    session = Session.of(ctx)
    differs = False
    try:
        pools = manifests.pools(filename, session)
        with session.client() as client:
            for pool in pools:
                differs |= _show_difference(client, pool)
    except (SkyError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    if differs:
        raise typer.Exit(1)


def validate(filename: Files) -> None:
    """Check manifests offline. Exit status 1 and one line for each thing that is wrong."""
    documents, problems = manifests.read(filename)
    for problem in problems:
        say(clean(str(problem)))
    if problems:
        raise typer.Exit(1)
    files = len({document.file for document in documents})
    say(f"ok: {_count(len(documents), 'pool')} in {_count(files, 'file')}")


def is_dry_run(value: str) -> bool:
    if value not in ("none", "server"):
        raise UserError(f"--dry-run={value}: there is none and server")
    return value == "server"


def _live(client: ObjectClient, pool: Pool) -> Json | None:
    try:
        return client.get(POOLS.plural, pool.metadata.namespace, pool.metadata.name)
    except NotFound:
        return None


def _wanted(live: Json, pool: Pool) -> Json:
    meta = live["metadata"]
    annotations = {**meta.get("annotations", {}), **pool.metadata.annotations}
    return {
        **live,
        "metadata": {**meta, "labels": dict(pool.metadata.labels), "annotations": annotations},
        "spec": pool.to_json()["spec"],
    }


def _show_difference(client: ObjectClient, pool: Pool) -> bool:
    live = _live(client, pool)
    before = "" if live is None else to_yaml(_decided(live))
    after = to_yaml(_decided(manifests.body_of(pool) if live is None else _wanted(live, pool)))
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"live {pool.key}", f"manifest {pool.key}", lineterm=""
    )
    shown = [clean(line) for line in lines]
    for line in shown:
        say(line)
    return bool(shown)


def _decided(body: Json) -> Json:
    """Of a pool's JSON, what a user decides; without defaults."""
    from skyward.api import Pool

    pool = Pool.model_validate({**body, "status": {}})
    return manifests.body_of(pool)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
