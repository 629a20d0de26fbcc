"""Who this agent is and whom it trusts: files in the node's home that the bootstrap wrote, and the credential it earned."""

from __future__ import annotations

import json
import os
from pathlib import Path

from skyward_agent.wire.records import record


class IdentityError(Exception):
    """A file of the agent's home is missing or wrong; one line that says which and what to do."""


@record(frozen=True, slots=True)
class Identity:
    node: str
    """The node's uid."""
    name: str
    endpoint: str
    server_name: str
    ca: str
    """The only authority whose certificates are accepted, PEM."""
    join_token: str
    orphan_timeout_s: float | None
    """Until the pool's own value is known."""


def load_identity(home: Path) -> Identity:
    """Raises IdentityError."""
    path = home / "agent.json"
    try:
        values = json.loads(path.read_text())
        timeout = values.get("orphan_timeout_s")
        return Identity(
            node=str(values["node"]),
            name=str(values["name"]),
            endpoint=str(values["endpoint"]),
            server_name=str(values["server_name"]),
            ca=str(values["ca"]),
            join_token=str(values.get("join_token", "")),
            orphan_timeout_s=None if timeout is None else float(timeout),
        )
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}: bootstrap this node again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IdentityError(f"{path}: not an agent's identity ({error!r}): bootstrap this node again") from error


def gateway_address(home: Path, identity: Identity) -> tuple[str, int]:
    """Where the gateway is now: the file that a tunnel rewrites wins over what the bootstrap knew. Raises IdentityError."""
    try:
        text = (home / "endpoint").read_text().strip()
    except OSError:
        text = ""
    text = text or identity.endpoint
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise IdentityError(f"the task endpoint {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


class CredentialFile:
    """The node credential, readable by its owner only."""

    def __init__(self, home: Path) -> None:
        self._path = home / "credential"

    def read(self) -> str:
        """Empty when there is none."""
        try:
            return self._path.read_text().strip()
        except OSError:
            return ""

    def write(self, credential: str) -> None:
        write_atomically(self._path, credential.encode())

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """All of it or nothing, on the disk when this returns, mode 0600. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
