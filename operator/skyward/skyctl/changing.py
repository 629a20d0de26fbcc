"""delete, scale, edit: changes to what exists."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import Invalid, NotFound, UserError
from skyward.skyctl import manifests
from skyward.skyctl.applying import apply_pool, is_dry_run
from skyward.skyctl.kinds import NODES, POOLS, TASKS, Kind, named, targets
from skyward.skyctl.options import DryRun, Selector, Timeout
from skyward.skyctl.session import Session, say, seconds
from skyward.skyctl.waiting import await_gone

if TYPE_CHECKING:
    from skyward.api import Json, Pool
    from skyward.client.objects import ObjectClient

_DELETABLE = (POOLS, NODES, TASKS)


def delete(
    ctx: typer.Context,
    what: Annotated[list[str] | None, typer.Argument(metavar="KIND NAME... | KIND/NAME...")] = None,
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Delete what this declares.")
    ] = None,
    selector: Selector = None,
    all_: Annotated[bool, typer.Option("--all", help="Every object of the kind in the namespace.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it is gone; a task is only cancelled.")] = True,
    timeout: Timeout = "10m",
    dry_run: DryRun = "none",
) -> None:
    """Delete pools with their nodes; delete a node and its pool replaces it; delete a task to cancel it."""
    session = Session.of(ctx)
    is_dry, limit_s = is_dry_run(dry_run), seconds(timeout, "--timeout")
    with session.client() as client:
        doomed = _doomed(client, session, what or [], filename or [], selector, everything=all_)
        deleted: list[tuple[Kind, str, str, str]] = []
        for kind, namespace, name in doomed:
            answer = client.delete(kind.plural, namespace, name, dry_run=is_dry)
            verb = "cancelled" if kind is TASKS else "deleted"
            say(f'{kind.singular}.skyward.dev "{name}" {verb}{" (server dry run)" if is_dry else ""}')
            deleted.append((kind, namespace, name, (answer.get("metadata") or {}).get("uid", "")))
        if wait and not is_dry:
            for kind, namespace, name, uid in deleted:
                if kind is not TASKS:
                    await_gone(client, kind, namespace, name, uid, limit_s)


def _doomed(
    client: ObjectClient,
    session: Session,
    words: list[str],
    files: list[str],
    selector: str | None,
    *,
    everything: bool,
) -> list[tuple[Kind, str, str]]:
    if bool(words) == bool(files):
        raise UserError("say what to delete: KIND NAME, KIND/NAME or -f FILE")
    if files:
        return [(POOLS, pool.metadata.namespace, pool.metadata.name) for pool in manifests.pools(files, session)]
    found: list[tuple[Kind, str, str]] = []
    namespace = session.namespace()
    for kind, name in targets(words):
        if kind not in _DELETABLE:
            raise UserError(f"{kind.plural} are records of the operator and cannot be deleted")
        if name is not None:
            found.append((kind, namespace, name))
        elif selector or everything:
            items = client.list(kind.plural, namespace, selector)["items"]
            found += [(kind, namespace, item["metadata"]["name"]) for item in items]
        else:
            raise UserError(f"say which {kind.plural}: names, -l SELECTOR or --all")
    return found


def scale(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="pool NAME... | pool/NAME...")],
    nodes: Annotated[int | None, typer.Option("--nodes", "--replicas", min=0, help="How many nodes.")] = None,
    dry_run: DryRun = "none",
) -> None:
    """Set how many nodes pools have."""
    if nodes is None:
        raise UserError("say how many: --nodes N")
    session = Session.of(ctx)
    is_dry = is_dry_run(dry_run)
    chosen = named(what)
    for kind, _ in chosen:
        if kind is not POOLS:
            raise UserError(f"{kind.plural} cannot be scaled; pools can")
    with session.client() as client:
        for _, name in chosen:
            client.scale(session.namespace(), name, nodes, dry_run=is_dry)
            say(f"{POOLS.ref(name)} scaled{' (server dry run)' if is_dry else ''}")


def edit(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="pool NAME | pool/NAME")],
) -> None:
    """Edit a pool in $VISUAL or $EDITOR; what is wrong comes back as comments on top."""
    session = Session.of(ctx)
    ((kind, name), *more) = named(what)
    if kind is not POOLS or more:
        raise UserError("edit takes one pool: edit pool NAME")
    with session.client() as client, tempfile.TemporaryDirectory(prefix="skyctl-edit-") as directory:
        path = Path(directory) / f"{name}.yaml"
        original = _document(client.get(POOLS.plural, session.namespace(), name))
        text = original
        while True:
            path.write_text(text)
            _run_editor(path)
            edited = path.read_text()
            if edited == text or _bare(edited) in ("", _bare(original)):
                if text is not original:
                    raise UserError(
                        f"edit of {kind.ref(name)} given up: the last problem was not mended; nothing changed"
                    )
                say("Edit cancelled, no changes made.")
                return
            try:
                say(f"{kind.ref(name)} {_take(client, session, path, name)}")
                return
            except Invalid as error:
                text = f"{_comments(error)}{_bare(edited)}"


def _take(client: ObjectClient, session: Session, path: Path, name: str) -> str:
    """Apply what the editor left. Raises Invalid with what is wrong with it."""
    documents, problems = manifests.read([str(path)])
    if problems:
        raise Invalid("\n".join(f"line {item.line}: {item.field}: {item.message}" for item in problems))
    if len(documents) != 1 or documents[0].pool.metadata.name != name:
        raise Invalid(f"keep exactly one document, of pool {name}")
    pool: Pool = documents[0].pool
    meta = pool.metadata.replace(namespace=session.namespace())
    verdict = apply_pool(client, pool.replace(metadata=meta))
    return "edited" if verdict == "configured" else verdict


def _document(body: Json) -> str:
    from skyward.api import Pool
    from skyward.documents import render

    try:
        return render(Pool.model_validate({**body, "status": {}}))
    except ValueError as error:
        raise NotFound(f"this skyctl does not understand that pool: {error}") from None


def _run_editor(path: Path) -> None:
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(command), str(path)], check=False)
    except (OSError, ValueError) as error:
        raise UserError(f"the editor {command!r} did not start ({error}): set EDITOR") from None
    if done.returncode != 0:
        raise UserError(f"the editor {command!r} ended with {done.returncode}; nothing changed")


def _comments(error: Invalid) -> str:
    lines = str(error).splitlines()
    return "".join(f"# {line}\n" for line in ("Not accepted; mend it, or leave without saving:", *lines))


def _bare(text: str) -> str:
    """Without the comments that we put on top."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("# "):
        lines.pop(0)
    return "".join(lines)
