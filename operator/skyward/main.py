"""The operator's door: reads the settings, builds the real things, wires the rooms, and serves until told to stop."""

from __future__ import annotations

import asyncio
import difflib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from skyward.errors import LeadershipLost, SkyError
from skyward.logs import configure_logs
from skyward.settings import Settings

_log = structlog.get_logger()
LONGEST_STOP_S = 9.5
LEADERSHIP_LOST = 3
"""Exit status when another operator leads now."""
_PREFIX = "SKYWARD_"
_OTHERS = ("SKYWARD_CONFIG", "SKYWARD_PYTHON", "SKYWARD_INSTANCE", "SKYWARD_NODE")
"""Variables that are read by clients and nodes, not here."""
_cli = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@_cli.callback()
def _describe(ctx: typer.Context) -> None:
    """Keep pools of machines as their manifests say."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@_cli.command("version")
def show_version() -> None:
    """Print the version."""
    typer.echo(version("skyward-operator"))


@_cli.command()
def run(
    manifests: Annotated[
        Path | None, typer.Option(help="The watched directory of pool manifests. Default: manifests")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Everything the operator must not lose. Default: $XDG_STATE_HOME/skyward"),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT of the HTTP API; port 0 picks one. Default: 127.0.0.1:6780")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="HOST:PORT of the task listener; port 0 picks one. Default: 127.0.0.1:6781")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Where to write the client configuration. Default: STATE/kubeconfig")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="console: readable lines, or json. Default: console")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error. Default: info")] = None,
) -> None:
    """Watch the manifests and keep the pools until stopped.

    Each option is also a variable, like SKYWARD_MANIFESTS or SKYWARD_LOG__FORMAT; an option wins over its variable.
    """
    given: dict[str, Any] = {
        "manifests": manifests,
        "state": state,
        "listen": listen,
        "tasks": tasks,
        "kubeconfig": kubeconfig,
        "log": {name: value for name, value in (("format", log_format), ("level", log_level)) if value} or None,
    }
    settings = _settings({name: value for name, value in given.items() if value is not None})
    configure_logs(settings.log)
    os.umask(0o077)
    asyncio.run(_until_told(settings))


def _settings(given: Mapping[str, Any]) -> Settings:
    """Ends with status 2 and one line for each thing that is wrong."""
    problems = list(_misspelt(os.environ))
    settings = None
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += [_problem(cause, given) for cause in error.errors()]
    except SettingsError as error:
        problems.append(f"a {_PREFIX}… variable cannot be read: {error}; write SKYWARD_LOG__FORMAT=json, for example")
    for problem in problems:
        _complain(problem)
    if problems or settings is None:
        raise typer.Exit(2)
    return settings


def _problem(cause: ErrorDetails, given: Mapping[str, Any]) -> str:
    path = [str(part) for part in cause["loc"]]
    variable = _PREFIX + "__".join(path).upper()
    place = f"--{'-'.join(path)}" if path[0] in given else variable
    if cause["type"] == "extra_forbidden":
        return f"{variable}: there is no such setting"
    return f"{place}: {cause['msg'].removeprefix('Value error, ').replace('Input should be', 'must be')}"


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that surely mean a setting and name none. Others may be anybody's."""
    known = [f"{_PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name in sorted(environ):
        stem = name.partition("__")[0]
        if not name.startswith(_PREFIX) or stem in known or name in _OTHERS:
            continue
        near = difflib.get_close_matches(stem, known, 1, cutoff=0.85)
        if near:
            yield f"{name}: there is no such setting; did you mean {near[0]}?"


async def _until_told(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order."""
    from skyward.assembly import operate

    serving = asyncio.current_task()
    assert serving is not None
    loop = asyncio.get_running_loop()
    told = False

    def stop() -> None:
        nonlocal told
        if not told:
            _end_soon()
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
    except LeadershipLost as error:
        _log.error("leadership lost", error=str(error))
        raise typer.Exit(LEADERSHIP_LOST) from None


def _end_soon() -> None:
    """Everything on record survives any end: whatever still hangs then (a thread in a call to a dead mount) is abandoned."""
    timer = threading.Timer(LONGEST_STOP_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _complain(message: str) -> None:
    typer.echo(f"error: {message}", err=True)


def invoke(argv: Sequence[str]) -> int:
    """Run one command line; its exit status. A mistake of the user's is one line on stderr."""
    try:
        status = _cli(args=list(argv), prog_name="skyward-operator", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        _complain(error.format_message())
        return error.exit_code
    except (SkyError, OSError) as error:
        _complain(str(error))
        return 1


def main() -> None:
    raise SystemExit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()
