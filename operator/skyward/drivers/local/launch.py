"""Making nodes: a directory prepared aside and renamed into place, then a server process that outlives the operator.

A crash leaves either nothing, a `.tmp-` directory that is swept, or a whole node whose server was not started yet; the
replay of the same launch finishes the last. Blocking code: the driver runs it in threads.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from skyward.api import LocalOptions
from skyward.contracts import Processes
from skyward.drivers.local.models import (
    AUTHORIZED_KEYS,
    BIN,
    HOME,
    HOST_KEY,
    MARKER,
    PROCESS,
    RECORD,
    SERVER_LOG,
    TEMPORARY,
    TMP,
    Record,
    seconds,
)
from skyward.drivers.local.removal import remove_tree
from skyward.errors import RequestRejected
from skyward.facts import LaunchRequest

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_PREFIXES = ("PIP_", "UV_")
_PASSED = frozenset(
    name
    for lower in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")
    for name in (lower, lower.upper())
) | {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
_SERVER_MODULE = "skyward.drivers.local.sshd"


@dataclass(frozen=True, slots=True)
class Host:
    """What nodes share with the machine they live on."""

    python: str
    """Interpreter that runs the servers, preferred for the nodes' environments too."""
    uv_dir: str
    """Where the operator's uv is; empty when it has none: nodes then get one of their own."""
    cache: Path
    environment: Mapping[str, str]
    """The operator's own; only what package managers need to reach their index is passed on."""


def instance_ids(request: LaunchRequest) -> list[str]:
    """The same launch has the same ids, so a replay finds what the first call made."""
    return [f"{request.launch[:12]}-{k}" for k in range(request.count)]


def prepare_node(root: Path, instance_id: str, request: LaunchRequest, *, now: float, suffix: str, uv_dir: str) -> None:
    """Make the node's directory unless it exists. Raises RequestRejected when another launch owns the name."""
    directory = root / instance_id
    existing = Record.read(directory)
    if existing is not None:
        if existing.launch != request.launch:
            raise RequestRejected(f"local node {instance_id} belongs to launch {existing.launch}", "launch")
        return
    temporary = root / f"{TEMPORARY}{instance_id}-{suffix}"
    try:
        _fill(temporary, instance_id, request, now=now, uv_dir=uv_dir)
        temporary.rename(directory)
    except OSError:
        remove_tree(temporary)  # the sweep spares what this operator made, and it may run for long
        if Record.read(directory) is None:
            raise


def _fill(directory: Path, instance_id: str, request: LaunchRequest, *, now: float, uv_dir: str) -> None:
    for name in ("", HOME, TMP, BIN):
        (directory / name).mkdir(mode=0o700, parents=True)
    # A link to uv alone: whatever else is installed beside it, a pip above all, would work on the operator's environment.
    if uv_dir:
        (directory / BIN / "uv").symlink_to(Path(uv_dir) / "uv")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    _write(directory / HOST_KEY, private)
    _write(directory / AUTHORIZED_KEYS, request.authorized_key.strip().encode() + b"\n")
    faults = LocalOptions.model_validate(request.options).faults
    record = Record(
        id=instance_id,
        launch=request.launch,
        owner=request.owner,
        pool_uid=request.pool_uid,
        pool=request.pool,
        created_at=now,
        user=user_name(),
        host_key=key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
        boot_delay_s=seconds(faults.slow_boot) or 0.0,
        loss_after_s=seconds(faults.spot_loss_after),
        notice_s=seconds(faults.spot_notice),
        epoch=request.epoch,
    )
    _write(directory / RECORD, record.text().encode())


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def start_server(directory: Path, *, host: Host, processes: Processes) -> None:
    """Start the node's server unless one was started before; a server that died stays dead, its node is replaced.

    A crash between the start and its record makes the replay start a second server, which finds the first one's lock
    and ends; the first one's own record then stands, whichever of the two was written first.
    """
    if (directory / PROCESS).exists():
        return
    process = processes.spawn(
        [host.python, "-m", _SERVER_MODULE, str(directory)],
        env=node_environment(directory, host),
        cwd=directory / HOME,
        log=directory / SERVER_LOG,
    )
    temporary = directory / f".{PROCESS}-{process.pid}"
    _write(temporary, json.dumps(asdict(process)).encode())
    try:
        os.link(temporary, directory / PROCESS)
    except FileExistsError:
        pass  # the server wrote it itself, and it knows better
    finally:
        temporary.unlink()


def node_environment(directory: Path, host: Host) -> dict[str, str]:
    """The environment of everything on the node: as on a fresh machine, plus how this host reaches package indexes."""
    passed = {
        name: value for name, value in host.environment.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    }
    return (
        _user_configuration(host.environment)
        | passed
        | {
            MARKER: directory.name,
            "HOME": str(directory / HOME),
            "TMPDIR": str(directory / TMP),
            "PATH": f"{directory / BIN}:{_DEFAULT_PATH}",
            "USER": user_name(),
            "LOGNAME": user_name(),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "SKYWARD_CACHE": str(host.cache),
            "SKYWARD_PYTHON": host.python,
        }
    )


def _user_configuration(environment: Mapping[str, str]) -> dict[str, str]:
    """Configuration that pip and uv would look for in the operator's home, which is not the node's."""
    home = environment.get("HOME")
    if not home:
        return {}
    base = Path(environment.get("XDG_CONFIG_HOME") or Path(home) / ".config")
    pip = next((path for path in (base / "pip/pip.conf", Path(home) / ".pip/pip.conf") if path.is_file()), None)
    uv = base / "uv/uv.toml"
    found = {"PIP_CONFIG_FILE": pip, "UV_CONFIG_FILE": uv if uv.is_file() else None}
    return {name: str(path) for name, path in found.items() if path is not None}


def user_name() -> str:
    """Who the nodes' commands run as: whoever runs the operator."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
