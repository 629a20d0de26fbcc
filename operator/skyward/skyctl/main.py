"""skyctl's door: the verbs, the global options, and one line for every mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from skyward.errors import SkyError
from skyward.skyctl import about, applying, changing, describing, getting, lifecycle, reading, running, waiting
from skyward.skyctl.arguments import normalized
from skyward.skyctl.session import Session, complain

cli = typer.Typer(
    name="skyctl",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@cli.callback()
def _globals(
    ctx: typer.Context,
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", help="Configuration file; else SKYWARD_CONFIG, else the default.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of what is named.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more when something fails.")] = False,
) -> None:
    """Pools of machines, their nodes and tasks. The options below may stand anywhere."""
    ctx.obj = Session(kubeconfig, namespace, verbose)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


_SCRIPT = {"allow_interspersed_args": False}
"""What follows the script is the script's own."""

cli.command("up")(lifecycle.up)
cli.command("down")(lifecycle.down)
cli.command("apply")(applying.apply)
cli.command("diff")(applying.diff)
cli.command("validate")(applying.validate)
cli.command("get")(getting.get)
cli.command("describe")(describing.describe)
cli.command("delete")(changing.delete)
cli.command("edit")(changing.edit)
cli.command("scale")(changing.scale)
cli.command("wait")(waiting.wait)
cli.command("logs")(reading.logs)
cli.command("events")(getting.events)
cli.command("run", context_settings=_SCRIPT)(running.run)
cli.command("version")(about.version)
cli.command("kubeconfig")(about.kubeconfig)
cli.command("api-resources")(getting.api_resources)


def invoke(argv: Sequence[str]) -> int:
    """Run one command line; its exit status. A mistake of the user's is one line on stderr."""
    verbose = "-v" in argv or "--verbose" in argv
    try:
        status = cli(args=normalized(argv), prog_name="skyctl", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        complain(error.format_message())
        return error.exit_code
    except typer.Abort:
        return 130
    except BrokenPipeError:
        raise
    except (SkyError, OSError) as error:
        if verbose:
            import traceback

            traceback.print_exception(error)
        complain(_one_line(error))
        return 1


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def main() -> None:
    try:
        status = invoke(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone: nothing more is to be said, the interpreter's last flush included.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    raise SystemExit(status)


if __name__ == "__main__":
    main()
