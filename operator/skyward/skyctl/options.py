"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Words = Annotated[list[str], typer.Argument(metavar="KIND [NAME...] | KIND/NAME...", show_default=False)]
Files = Annotated[
    list[str],
    typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Manifest, directory of manifests, or - for stdin."),
]
Selector = Annotated[str | None, typer.Option("--selector", "-l", help="Labels, like team=x,gpu in (a,b),!old.")]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Objects of every namespace.")]
DryRun = Annotated[str, typer.Option("--dry-run", help="none, or server: say what would happen, change nothing.")]
Timeout = Annotated[str, typer.Option(help="How long to wait at most, like 30s or 5m.")]
