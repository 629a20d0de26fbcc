"""version, kubeconfig: which programs these are and where they find each other."""

from __future__ import annotations

from typing import Annotated

import typer

from skyward.errors import SkyError, UserError
from skyward.skyctl.session import Session, say


def version(
    ctx: typer.Context,
    client_only: Annotated[bool, typer.Option("--client", help="Only this program's own version.")] = False,
) -> None:
    """Versions of skyctl and of the operator."""
    from importlib.metadata import version as installed

    say(f"Client Version: {installed('skyward-operator')}")
    if client_only:
        return
    try:
        with Session.of(ctx).client() as client:
            say(f"Server Version: {client.version()['gitVersion']}")
    except SkyError as error:
        say(f"Server Version: unknown ({error})")


def kubeconfig(
    ctx: typer.Context,
    raw: Annotated[bool, typer.Option("--raw", help="Its contents, with the token.")] = False,
) -> None:
    """The file that leads to the operator, for kubectl --kubeconfig and SKYWARD_CONFIG."""
    path = Session.of(ctx).config_path()
    if not raw:
        say(str(path))
        return
    try:
        say(path.read_text().rstrip("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}") from None
