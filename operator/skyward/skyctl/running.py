"""run: a script or a piece of code on one node of a pool, its output and its exit status here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import UserError
from skyward.skyctl.session import Session, seconds

if TYPE_CHECKING:
    from skyward.client.tasks import TaskRequest

_CODE = "<string>"
_MAX_SCRIPT_BYTES = 16 * 1024 * 1024


def run(
    ctx: typer.Context,
    script: Annotated[list[str] | None, typer.Argument(metavar="SCRIPT [ARGS...]")] = None,
    pool: Annotated[str, typer.Option("--pool", "-p", help="The pool whose node runs it.")] = "",
    code: Annotated[str | None, typer.Option("--code", "-c", help="Python code instead of a script.")] = None,
    timeout: Annotated[str | None, typer.Option(help="The longest it may run, like 10m.")] = None,
) -> None:
    """Run a Python script on a node: run -p hello train.py --epochs 3. Its exit status becomes skyctl's."""
    session = Session.of(ctx)
    if not pool:
        raise UserError("say on which pool: -p POOL")
    source, name, argv = _source(script or [], code)
    limit_s = None if timeout is None else seconds(timeout, "--timeout")
    from skyward.skyctl.script_task import follow

    request = _request(session.namespace(), pool, source, name, argv, limit_s)
    raise typer.Exit(follow(session.config(), request))


def _source(script: list[str], code: str | None) -> tuple[str, str, list[str]]:
    if code is not None:
        _check_syntax(code, _CODE)
        return code, "-c", script
    if not script:
        raise UserError("say what to run: SCRIPT, or -c CODE")
    path, *argv = script
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        if len(data) > _MAX_SCRIPT_BYTES:
            raise UserError(f"{path}: is larger than {_MAX_SCRIPT_BYTES >> 20} MiB")
        source = data.decode()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text") from None
    _check_syntax(source, path)
    return source, path, argv


def _check_syntax(source: str, name: str) -> None:
    try:
        compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UserError(f"{name}{line}: {message}") from None


def _request(
    namespace: str, pool: str, source: str, name: str, argv: Sequence[str], timeout_s: float | None
) -> TaskRequest:
    import hashlib
    import pickle

    import cloudpickle

    from skyward.client.tasks import TaskRequest
    from skyward.skyctl import remote

    cloudpickle.register_pickle_by_value(remote)
    try:
        function: bytes = cloudpickle.dumps(remote.run_script, protocol=5)
    finally:
        cloudpickle.unregister_pickle_by_value(remote)
    return TaskRequest(
        namespace=namespace,
        pool=pool,
        mode="run",
        name=Path(name).stem if name != "-c" else "code",
        digest=hashlib.sha256(function).hexdigest(),
        function=function,
        items=(pickle.dumps(((source, name, list(argv)), {}), protocol=5),),
        timeout_s=timeout_s,
    )
