"""The operator's door: reads the settings, builds the real things, wires the rooms, and serves until told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from pydantic import ValidationError

from skyward.errors import SkyError
from skyward.logs import configure_logs
from skyward.settings import Settings

_log = structlog.get_logger()
_cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@_cli.callback()
def _describe() -> None:
    """Keep pools of machines as their manifests say."""


@_cli.command("version")
def show_version() -> None:
    """Print the version."""
    typer.echo(version("skyward-operator"))


@_cli.command()
def run(
    manifests: Annotated[Path | None, typer.Option(help="The watched directory of pool manifests.")] = None,
    state: Annotated[Path | None, typer.Option(help="Everything the operator must not lose.")] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT of the HTTP API; port 0 picks one.")] = None,
    tasks: Annotated[str | None, typer.Option(help="HOST:PORT of the task listener.")] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Where to write the client configuration.")] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Watch the manifests and keep the pools until stopped. Each option is also a variable: SKYWARD_MANIFESTS, …"""
    given: dict[str, Any] = {
        "manifests": manifests,
        "state": state,
        "listen": listen,
        "tasks": tasks,
        "kubeconfig": kubeconfig,
        "log": {name: value for name, value in (("format", log_format), ("level", log_level)) if value} or None,
    }
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for cause in error.errors():
            place = ".".join(str(part) for part in cause["loc"])
            typer.echo(f"error: {place}: {cause['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(2) from None
    configure_logs(settings.log)
    os.umask(0o077)
    try:
        asyncio.run(_until_told(settings))
    except (SkyError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


async def _until_told(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order."""
    from skyward.assembly import operate

    serving = asyncio.current_task()
    assert serving is not None
    loop = asyncio.get_running_loop()
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await operate(settings)
    except asyncio.CancelledError:
        if not told:
            raise
        _log.info("operator stopped")


def main() -> None:
    _cli()


if __name__ == "__main__":
    main()
