"""offerings: what providers sell now, and which of it a pool or a manifest would take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import UserError
from skyward.skyctl.ages import age_at
from skyward.skyctl.printing import print_columns, print_json, print_yaml
from skyward.skyctl.session import Session, complain, say

if TYPE_CHECKING:
    from skyward.api import Json

_FORMS = ("", "wide", "yaml", "json")
_HEADER = ("PROVIDER", "TYPE", "REGION", "CAPACITY", "ACCELERATOR", "CPU", "MEMORY", "$/H", "SUPPLY", "AGE", "NOTE")
_WIDE = ("ZONE", "FORM", "DISK", "ARCH", "HOST", "PRICED")
_SHOWN = 20
"""Of those that do not fit, so many are shown."""


def offerings(
    ctx: typer.Context,
    pool: Annotated[str, typer.Argument(metavar="[POOL]", show_default=False)] = "",
    filename: Annotated[str, typer.Option("--filename", "-f", metavar="FILE|-", help="A manifest of one pool.")] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="wide, yaml or json.")] = "",
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also all that do not fit, and why.")] = False,
) -> None:
    """Show what machines there are: all of them, or what fits a pool or a manifest, the one that would be taken first."""
    if output not in _FORMS:
        raise UserError(f"-o {output}: there is wide, yaml and json")
    if pool and filename:
        raise UserError("name a pool or a manifest, not both")
    table = _ask(Session.of(ctx), pool, filename)
    if output in ("yaml", "json"):
        (print_json if output == "json" else print_yaml)(table)
        return
    _show(table, wide=output == "wide", everything=everything)
    for problem in table["problems"]:
        complain(f"{problem['provider']}: {problem['message']}")
    if not any(item["fits"] for item in table["items"]):
        raise typer.Exit(1)


def _ask(session: Session, pool: str, filename: str) -> Json:
    from skyward.skyctl import manifests

    body = None
    if filename:
        pools = manifests.pools([filename], session)
        if len(pools) != 1:
            raise UserError(f"{filename} holds {len(pools)} pools: give a manifest of one")
        body = manifests.body_of(pools[0])
    with session.client() as client:
        return client.offerings(session.namespace(), pool.removeprefix("pool/"), body)


def _show(table: Json, *, wide: bool, everything: bool) -> None:
    fitting = [item for item in table["items"] if item["fits"]]
    others = [item for item in table["items"] if not item["fits"]]
    if not fitting:
        say("nothing fits:" if others else "nothing is offered")
    shown = [*fitting, *(others if everything or not fitting else [])]
    hidden = len(fitting) + len(others) + table["remaining"] - len(shown)
    if not fitting and not everything:
        hidden += max(len(shown) - _SHOWN, 0)
        shown = shown[:_SHOWN]
    if shown:
        now = time.time()
        header = (*_HEADER[:-1], *(_WIDE if wide else ()), _HEADER[-1])
        print_columns([header, *(_row(item, now, wide=wide) for item in shown)])
    if hidden:
        say(f"and {hidden} more that {'do not fit: --all shows them' if not everything else 'the server left out'}")


def _row(item: Json, now: float, *, wide: bool) -> tuple[str, ...]:
    accelerator = item.get("accelerator", "-") + ("" if item.get("acceleratorKnown", True) else " (unknown)")
    cells = (
        item["provider"],
        item["type"],
        item.get("region", "-"),
        item["capacityType"],
        accelerator,
        _number(item.get("cpu")),
        _number(item.get("memoryGB"), "GB"),
        item["hourlyCost"],
        _supply(item, now),
        age_at(item["readAt"], now),
    )
    more = (
        item.get("zone", "-"),
        item.get("acceleratorForm", "-"),
        _number(item.get("diskGB"), "GB"),
        item.get("arch", "-"),
        item.get("hostId", "-"),
        f"{age_at(item['pricedAt'], now)} ago",
    )
    note = "; ".join(filter(None, (item.get("why", ""), item.get("note", ""))))
    return (*cells, *(more if wide else ()), note or "-")


def _supply(item: Json, now: float) -> str:
    if "coolingUntil" not in item:
        return str(item["supply"])
    from datetime import datetime

    left_s = max(datetime.fromisoformat(item["coolingUntil"]).timestamp() - now, 0.0)
    return f"cools {left_s:.0f}s"


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.4g}{unit}"
