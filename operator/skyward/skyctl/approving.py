"""approve: let go on what the operator holds back: a deletion of much at once, or reading while Git is not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import Conflict, Invalid, UserError
from skyward.skyctl.applying import is_dry_run
from skyward.skyctl.kinds import SOURCES
from skyward.skyctl.options import DryRun
from skyward.skyctl.session import Session, clean, say

if TYPE_CHECKING:
    from skyward.api import Json


def approve(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="HASH", help="As the condition of the source or pool names it.")],
    dry_run: DryRun = "none",
) -> None:
    """Let a held deletion go on, by the hash in its condition. Exactly what is held now is approved, and nothing else."""
    session = Session.of(ctx)
    is_dry = is_dry_run(dry_run)
    with session.client() as client:
        sources = client.list(SOURCES.plural)["items"]
        source = next((source for source in sources if what in _waiting(source)), None)
        if source is None:
            raise UserError(_instead(what, sources))
        meta = source["metadata"]
        annotation, changes = _waiting(source)[what]
        patch = {"metadata": {"annotations": {annotation: what}}}
        try:
            client.patch(SOURCES.plural, meta["namespace"], meta["name"], patch, dry_run=is_dry)
        except (Conflict, Invalid):
            raise UserError(f"{what} does not wait any more; look again: skyctl describe source") from None
    say(f"{SOURCES.ref(meta['name'])} approved{' (server dry run)' if is_dry else ''}")
    for change in changes:
        say(f"  {clean(change)}")


def _waiting(source: Json) -> dict[str, tuple[str, list[str]]]:
    """What waits for a word there: the annotation that gives it, and what it will change."""
    from skyward.api.meta import APPROVED, READ_DESPITE

    status = source.get("status") or {}
    found: dict[str, tuple[str, list[str]]] = {}
    if held := status.get("held"):
        found[held["hash"]] = APPROVED, held["changes"]
    if unfinished := status.get("unfinished"):
        found[unfinished] = READ_DESPITE, []
    return found


def _instead(what: str, sources: list[Json]) -> str:
    waiting = sorted(name for source in sources for name in _waiting(source))
    if not waiting:
        return f"{what!r} does not wait for an approval, and nothing else does"
    return f"{what!r} does not wait for an approval; what does: {', '.join(waiting)}"
