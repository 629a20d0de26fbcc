"""skyctl's door: the verbs, the global options, and one line for every mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from skyward.errors import SkyError
from skyward.skyctl import (
    about,
    adopting,
    applying,
    approving,
    changing,
    cordoning,
    describing,
    getting,
    lifecycle,
    offering,
    patching,
    reading,
    rollouts,
    running,
    waiting,
    why,
)
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

cli.command("up", short_help="Start an operator and a first pool.")(lifecycle.up)
cli.command("down", short_help="Take local pools and the operator away.")(lifecycle.down)
cli.command("apply", short_help="Make pools as their manifests say.")(applying.apply)
cli.command("diff", short_help="Show what apply would change.")(applying.diff)
cli.command("validate", short_help="Check manifests offline.")(applying.validate)
cli.command("get", short_help="List objects, or watch them.")(getting.get)
cli.command("describe", short_help="Show objects in full, with their events.")(describing.describe)
cli.command("delete", short_help="Delete pools or nodes; cancel tasks.")(changing.delete)
cli.command("adopt", short_help="Take over instances that the records do not know.")(adopting.adopt)
cli.command("approve", short_help="Let a held deletion go on.")(approving.approve)
cli.command("cordon", short_help="Give nodes no new work.")(cordoning.cordon)
cli.command("uncordon", short_help="Give nodes work again.")(cordoning.uncordon)
cli.command("drain", short_help="Cordon nodes and wait until nothing runs on them.")(cordoning.drain)
cli.command("edit", short_help="Edit a pool in $VISUAL or $EDITOR.")(changing.edit)
cli.command("patch", short_help="Set fields of an object.")(patching.patch)
cli.command("scale", short_help="Set how many nodes pools have.")(changing.scale)
cli.add_typer(rollouts.cli, name="rollout", short_help="Follow, undo, restart or pause a pool's roll-out.")
cli.command("wait", short_help="Wait for a condition, a field or an end.")(waiting.wait)
cli.command("offerings", short_help="Show what machines there are, and which fit a pool.")(offering.offerings)
cli.command("logs", short_help="Show what a task or a node printed.")(reading.logs)
cli.command("events", short_help="Show what happened, and why.")(getting.events)
cli.command("why", short_help="Tell what was decided about an object, and why.")(why.why)
cli.command("run", short_help="Run a script or code on a node.", context_settings=_SCRIPT)(running.run)
cli.command("version", short_help="Show the versions of skyctl and operator.")(about.version)
cli.command("kubeconfig", short_help="Show where the client configuration is.")(about.kubeconfig)
cli.command("api-resources", short_help="List the kinds that the operator serves.")(getting.api_resources)


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
