"""logs: what user code wrote in a task or on a node."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from skyward.errors import UserError
from skyward.skyctl.kinds import NODES, TASKS, named
from skyward.skyctl.session import Session


def logs(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="TASK | task/NAME | node/NAME")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it is written.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only the last lines.")] = None,
    prefix: Annotated[bool, typer.Option("--prefix", help="Each line with its node.")] = False,
) -> None:
    """Show the output of a task, or of everything that ran on a node."""
    ((kind, name),) = named([what if "/" in what else f"{TASKS.singular}/{what}"])
    if kind not in (TASKS, NODES):
        raise UserError(f"{kind.plural} have no logs; tasks and nodes do: task/NAME or node/NAME")
    session = Session.of(ctx)
    with session.client() as client:
        for text in client.log(kind.plural, session.namespace(), name, follow=follow, tail=tail, prefix=prefix):
            sys.stdout.write(text)
            sys.stdout.flush()
