"""up, down: an operator and local pools in one go, and both away again."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyward.client.config import NoConfig, load_config
from skyward.errors import NotFound, OperatorUnreachable, SkyError, UserError
from skyward.skyctl import manifests, operator_process
from skyward.skyctl.applying import apply_pool
from skyward.skyctl.kinds import POOLS, SOURCES
from skyward.skyctl.operator_process import OperatorChild
from skyward.skyctl.session import Session, complain, say, seconds
from skyward.skyctl.waiting import parse_goal

if TYPE_CHECKING:
    from skyward.api import Json, Pool
    from skyward.client.objects import ObjectClient

_START_S = 30.0
_STOP_S = 20.0
_HELLO: dict[str, Any] = {"nodes": 2, "provider": "local"}
_WATCH_CHILD_S = 0.5

StateOption = Annotated[
    Path | None, typer.Option("--state", help="The operator's state directory; else SKYWARD_STATE, else the default.")
]


def up(
    ctx: typer.Context,
    filename: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Pools; else those declared, else a small one."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave operator and pools running and return.")] = False,
    state: StateOption = None,
    manifests_: Annotated[
        Path | None, typer.Option("--manifests", help="The watched directory; by default inside the state directory.")
    ] = None,
    listen: Annotated[str, typer.Option(help="HOST:PORT of the HTTP API; port 0 picks one.")] = "127.0.0.1:6780",
    tasks: Annotated[str, typer.Option(help="HOST:PORT of the task listener; port 0 picks one.")] = "127.0.0.1:6781",
    timeout: Annotated[str, typer.Option(help="How long the pools may take to become ready.")] = "10m",
) -> None:
    """Start an operator and pools; Ctrl-C takes local pools and operator away again, unless --keep."""
    session, limit_s = Session.of(ctx), seconds(timeout, "--timeout")
    pools = manifests.pools(filename, session) if filename else []
    directory = _state(state)
    watched = (manifests_ or directory / "manifests").absolute()
    config = session.config_path().absolute()
    _refuse_second(directory)
    _refuse_foreign(config, directory)
    watched.mkdir(parents=True, exist_ok=True)
    config.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = operator_process.stat_of(config)
    with _terminate_like_interrupt():
        addresses = ["--listen", listen, "--tasks", tasks]
        places = ["--manifests", str(watched), "--state", str(directory), "--kubeconfig", str(config)]
        child = OperatorChild(directory, [*places, *addresses])
        try:
            child.await_file(config, before, _START_S)
            say(f"operator started (pid {child.pid}); manifests in {watched}, log in {child.log}")
            with session.client() as client:
                names = _make_ready(client, pools or _first_pools(client, session), limit_s)
            _say_how(config, names)
            _say_how_it_ends(keep=keep, is_ours=watched.is_relative_to(directory))
            if not keep:
                _stay(child)
        except KeyboardInterrupt:
            _interrupted(session, child, directory, pools, keep=keep)
        except (SkyError, OSError) as error:
            if not child.has_ended():
                say(f"the operator (pid {child.pid}) still runs; skyctl down takes it and its local pools away")
            elif isinstance(error, OperatorUnreachable):
                raise UserError(f"the operator ended by itself: {child.last_words()}") from None
            raise


def down(
    ctx: typer.Context,
    state: StateOption = None,
    keep_pools: Annotated[
        bool, typer.Option("--keep-pools", help="Only stop the operator; nodes go on until their orphanTimeout.")
    ] = False,
    delete_manifests: Annotated[
        bool, typer.Option("--delete-manifests", help="Delete pools although that removes them from files of yours.")
    ] = False,
    timeout: Annotated[str, typer.Option(help="How long the nodes may take to be gone.")] = "5m",
) -> None:
    """Delete the local pools, wait until their nodes are gone, and stop the operator."""
    session = Session.of(ctx)
    directory = _state_to_end(session, state)
    limit_s = seconds(timeout, "--timeout")
    found = operator_process.holder(directory)
    if found is None:
        left = operator_process.local_nodes(directory)
        also = f"; {left} local nodes are left there: skyctl up takes them over" if left else ""
        say(f"no operator runs in {directory}{also}")
        return
    try:
        if not keep_pools:
            with session.client() as client:
                if not delete_manifests:
                    _refuse_foreign_files(client, directory)
                delete_local_pools(client, limit_s)
    except OperatorUnreachable as error:
        complain(f"local pools were not deleted: {error}")
        raise typer.Exit(1) from None
    operator_process.stop(directory, found, _STOP_S)
    say("operator stopped")


def delete_local_pools(client: ObjectClient, limit_s: float, only: set[tuple[str, str]] | None = None) -> None:
    """Delete every pool, or those of `only`, whose nodes are all on this host, and wait until they are gone. Raises
    UserError when time is up."""
    from skyward.skyctl.progress import follow

    local = [pool for pool in client.list(POOLS.plural)["items"] if _is_local(pool)]
    keys = {(pool["metadata"]["namespace"], pool["metadata"]["name"]) for pool in local}
    keys = keys if only is None else keys & only
    for namespace, name in sorted(keys):
        with contextlib.suppress(NotFound):
            client.delete(POOLS.plural, namespace, name)
            say(f"{POOLS.ref(name)} is being deleted")
    if keys and not follow(client, "waiting for the nodes to go", lambda pools: not pools, keys, limit_s):
        raise UserError(f"some nodes are still there after {limit_s:.0f} s; the operator goes on: skyctl get nodes -A")


def _first_pools(client: ObjectClient, session: Session) -> list[Pool]:
    """What `up` brings up when it is told nothing: what is declared already, else one small pool."""
    if client.list(POOLS.plural)["items"]:
        return []
    return [_hello(session)]


def _make_ready(client: ObjectClient, pools: list[Pool], limit_s: float) -> list[str]:
    """Apply these pools and wait until they, or with none all that are declared, are ready; their names."""
    from skyward.skyctl.progress import follow

    for pool in pools:
        say(f"{POOLS.ref(pool.metadata.name)} {apply_pool(client, pool)}")
    keys = {(pool.metadata.namespace, pool.metadata.name) for pool in pools} or {
        (pool["metadata"]["namespace"], pool["metadata"]["name"]) for pool in client.list(POOLS.plural)["items"]
    }
    ready, stalled = parse_goal("condition=Ready"), parse_goal("condition=Stalled")

    def is_done(found: list[Json]) -> bool:
        for pool in found:
            if stalled.holds(pool):
                raise UserError(f"pool {pool['metadata']['name']} is stalled: {_message(pool, 'Stalled')}")
        return len(found) == len(keys) and all(ready.holds(pool) for pool in found)

    if not follow(client, "waiting for the pools to be ready", is_done, keys, limit_s):
        raise UserError(f"the pools are not ready after {limit_s:.0f} s: skyctl describe pool says why")
    return sorted(name for _, name in keys)


def _stay(child: OperatorChild) -> None:
    """Until Ctrl-C, or until the operator ends by itself."""
    while not child.has_ended():
        time.sleep(_WATCH_CHILD_S)
    raise UserError(
        f"the operator ended by itself (see {child.log}); its nodes go on for a while: skyctl up takes them over again"
    )


def _interrupted(session: Session, child: OperatorChild, state: Path, pools: list[Pool], *, keep: bool) -> None:
    """Delete the local pools and stop the operator, unless it is to be kept. Of files that were there before, only the pools
    that this `up` was given go."""
    if keep:
        say("the operator goes on; skyctl down takes it away")
        raise KeyboardInterrupt
    say("\ntaking local pools and the operator down (Ctrl-C again leaves what is left)")
    try:
        with session.client() as client:
            given = {(pool.metadata.namespace, pool.metadata.name) for pool in pools}
            delete_local_pools(client, 300.0, None if _files_are_ours(client, state) else given)
    except SkyError as error:
        complain(f"local pools were not deleted: {error}; the operator (pid {child.pid}) goes on")
        raise typer.Exit(1) from None
    child.stop(_STOP_S)
    left = operator_process.local_nodes(state)
    also = f"; {left} local nodes of your manifests go on until their orphanTimeout" if left else ""
    say(f"operator stopped{also}")


@contextlib.contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """SIGTERM means what Ctrl-C means."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_second(state: Path) -> None:
    found = operator_process.holder(state)
    if found is not None:
        raise UserError(
            f"an operator already runs in {state} (pid {found.pid}): use it (skyctl apply), or take it away (skyctl down)"
        )


def _files_are_ours(client: ObjectClient, state: Path) -> bool:
    """The manifests lie in the state directory, where `up` puts them; elsewhere they are the user's own."""
    source = client.get(SOURCES.plural, "default", "manifests")
    return Path(source["spec"]["path"]).is_relative_to(state)


def _refuse_foreign_files(client: ObjectClient, state: Path) -> None:
    local = [pool for pool in client.list(POOLS.plural)["items"] if _is_local(pool)]
    if local and not _files_are_ours(client, state):
        files = sorted({pool["status"]["file"].rpartition(":")[0] for pool in local})
        raise UserError(
            f"this would delete pools from your manifests ({', '.join(files)}): say --delete-manifests, or --keep-pools "
            "to stop only the operator"
        )


def _refuse_foreign(config: Path, state: Path) -> None:
    """Never overwrite the way to another operator that runs."""
    try:
        other = load_config(config).state
    except NoConfig:
        return
    if other is None or other == state:
        return
    found = operator_process.holder_or_none(other)
    if found is not None:
        raise UserError(
            f"{config} leads to the operator of {other} (pid {found.pid}): take that down first (skyctl down), "
            "or name another file with --kubeconfig"
        )


def _state_to_end(session: Session, given: Path | None) -> Path:
    """The state directory of the operator that the configuration leads to. Raises UserError when --state says otherwise."""
    try:
        config = session.config()
    except NoConfig:
        return _state(given)
    if config.state is None:
        return _state(given)
    if given is not None and _state(given) != config.state:
        raise UserError(
            f"{config.path} leads to the operator of {config.state}, not of {_state(given)}: "
            "name that one's configuration with --kubeconfig"
        )
    return config.state


def _state(given: Path | None) -> Path:
    if given is None and not os.environ.get("SKYWARD_STATE"):
        from skyward.settings import default_state

        return default_state(os.environ).absolute()
    return Path(given or os.environ["SKYWARD_STATE"]).expanduser().absolute()


def _hello(session: Session) -> Pool:
    from skyward.api import DEFAULT_NAMESPACE, ObjectMeta, Pool, PoolSpec

    meta = ObjectMeta(name="hello", namespace=session.given_namespace or DEFAULT_NAMESPACE)
    return Pool(metadata=meta, spec=PoolSpec.model_validate(_HELLO))


def _say_how_it_ends(*, keep: bool, is_ours: bool) -> None:
    if keep and is_ours:
        say("skyctl down takes it away.")
    elif keep:
        say("skyctl down --keep-pools stops the operator; skyctl down --delete-manifests takes all of it away.")
    else:
        say("Ctrl-C takes it away." if is_ours else "Ctrl-C takes the operator and the pools that it was given away.")


def _say_how(config: Path, names: list[str]) -> None:
    say("\nReady. In another terminal:\n")
    say("  skyctl get pools,nodes")
    if names:
        say(f"  skyctl run -p {names[0]} -c 'print(6 * 7)'")
    say(f"  kubectl --kubeconfig {shlex.quote(str(config))} get pools\n")


def _is_local(pool: Json) -> bool:
    from skyward.api import places_of

    return all(place["name"] == "local" for place in places_of(pool["spec"]))


def _message(pool: Json, type_: str) -> str:
    found = [item for item in pool["status"]["conditions"] if item["type"] == type_]
    return str(found[0].get("message", "")) if found else ""
