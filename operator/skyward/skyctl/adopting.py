"""adopt: take over what is the installation's by its mark and unknown to the operator's records."""

from __future__ import annotations

from typing import Annotated

import typer

from skyward.errors import Conflict, Invalid, UserError
from skyward.skyctl.applying import is_dry_run
from skyward.skyctl.kinds import SOURCES
from skyward.skyctl.options import DryRun
from skyward.skyctl.session import Session, say


def adopt(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="HASH", help="As the condition of the source or pool names it.")],
    dry_run: DryRun = "none",
) -> None:
    """Take over the instances that the operator found and does not know, by the hash in its condition. Those of a pool that
    is declared become its nodes again; the rest is deleted."""
    from skyward.api.meta import ADOPTED

    session = Session.of(ctx)
    is_dry = is_dry_run(dry_run)
    with session.client() as client:
        sources = client.list(SOURCES.plural)["items"]
        waiting = {name: source for source in sources for name in (source.get("status") or {}).get("adoptable", ())}
        if what not in waiting:
            raise UserError(_instead(what, sorted(waiting)))
        meta = waiting[what]["metadata"]
        patch = {"metadata": {"annotations": {ADOPTED: what}}}
        try:
            client.patch(SOURCES.plural, meta["namespace"], meta["name"], patch, dry_run=is_dry)
        except (Conflict, Invalid):
            raise UserError(f"{what} is not what waits any more; look again: skyctl describe source") from None
    say(f"{SOURCES.ref(meta['name'])} adopts {what}{' (server dry run)' if is_dry else ''}")


def _instead(what: str, waiting: list[str]) -> str:
    if not waiting:
        return f"{what!r} does not wait to be adopted, and nothing else does"
    return f"{what!r} does not wait to be adopted; what does: {', '.join(waiting)}"
