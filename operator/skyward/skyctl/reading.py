"""logs: what user code wrote in a task or on a node."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from skyward.errors import OperatorUnreachable, UserError
from skyward.skyctl.kinds import NODES, TASKS, named
from skyward.skyctl.reconnecting import await_operator
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
        namespace = session.namespace()
        if not follow:
            _write(client.log(kind.plural, namespace, name, tail=tail, prefix=prefix))
            return
        broken: OperatorUnreachable | None = None
        while True:
            before = client.log_origin
            try:
                for text in client.log(kind.plural, namespace, name, follow=True, tail=tail, prefix=prefix):
                    if broken is not None and client.log_origin == before:
                        raise broken  # the same operator would begin from the start again
                    _write((text,))
                return
            except OperatorUnreachable as error:
                if error is broken:
                    raise
                broken, tail = error, None
                await_operator(client, error)


def _write(texts: Iterable[str]) -> None:
    for text in texts:
        sys.stdout.write(text)
        sys.stdout.flush()
