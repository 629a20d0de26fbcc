"""patch: a few fields of an object, as kubectl writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import UserError
from skyward.skyctl.applying import is_dry_run
from skyward.skyctl.kinds import NODES, POOLS, SOURCES, named
from skyward.skyctl.options import DryRun
from skyward.skyctl.session import Session, say

if TYPE_CHECKING:
    from skyward.api import Json

_PATCHED = (POOLS, NODES, SOURCES)


def patch(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="KIND NAME... | KIND/NAME...")],
    patch: Annotated[
        str, typer.Option("--patch", "-p", help='Fields to set, like {"spec":{"queue":"held"}}; null unsets.')
    ],
    kind_of_patch: Annotated[str, typer.Option("--type", help="merge: the only one there is.")] = "merge",
    dry_run: DryRun = "none",
) -> None:
    """Set fields of objects: patch pool hello -p '{"spec":{"queue":"held"}}'."""
    if kind_of_patch != "merge":
        raise UserError(f"--type {kind_of_patch}: there is merge")
    fields, is_dry = _parsed(patch), is_dry_run(dry_run)
    session = Session.of(ctx)
    chosen = named(what)
    for kind, _ in chosen:
        if kind not in _PATCHED:
            raise UserError(f"{kind.plural} cannot be patched; {', '.join(one.plural for one in _PATCHED)} can")
    with session.client() as client:
        for kind, name in chosen:
            client.patch(kind.plural, session.namespace(), name, fields, dry_run=is_dry)
            say(f"{kind.ref(name)} patched{' (server dry run)' if is_dry else ''}")


def _parsed(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"--patch is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError('--patch is an object, like {"spec":{"queue":"held"}}')
    return found
