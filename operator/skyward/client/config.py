"""Where the operator is: one file in kubeconfig format for kubectl, skyctl and the SDK."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from skyward.errors import UserError
from skyward_agent.wire.names import SERVER_NAME

VARIABLE = "SKYWARD_CONFIG"
TASKS_EXTENSION = "skyward.dev/tasks"
"""Name of the cluster's extension that holds the task listener: `{address: HOST:PORT}`."""
STATE_EXTENSION = "skyward.dev/state"
"""Name of the cluster's extension that says where the operator lives: `{directory: PATH}`."""


class NoConfig(UserError):
    """There is no usable configuration; the message says where it was looked for."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    server: str
    """Base URL of the HTTP API."""
    tasks: str
    """HOST:PORT of the task listener."""
    ca_pem: str
    token: str
    namespace: str
    path: Path
    state: Path | None = None
    """The operator's state directory, on the host it runs on; None when the file does not say."""


def config_path(argument: str | Path | None, environ: Mapping[str, str]) -> Path:
    """The argument, else SKYWARD_CONFIG, else `$XDG_CONFIG_HOME/skyward/config`."""
    if argument is not None:
        return Path(argument)
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "skyward" / "config"


def load_config(path: Path) -> ClientConfig:
    """Read a kubeconfig's current context. Raises NoConfig with one line that says what to do."""
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text())
    except FileNotFoundError:
        raise NoConfig(
            f"no configuration at {path}: start an operator (skyctl up), or name its file with --kubeconfig or {VARIABLE}"
        ) from None
    except OSError as error:
        raise NoConfig(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, YAMLError):
        raise NoConfig(f"{path} cannot be read as a kubeconfig: it is not YAML") from None
    try:
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        extension = _named(cluster["extensions"], TASKS_EXTENSION)["extension"]
        return ClientConfig(
            server=cluster["server"],
            tasks=extension["address"],
            ca_pem=base64.b64decode(cluster["certificate-authority-data"]).decode(),
            token=user["token"],
            namespace=context.get("namespace", "default"),
            path=path,
            state=_state(cluster["extensions"]),
        )
    except (KeyError, TypeError, ValueError, LookupError) as error:
        raise NoConfig(f"{path} is not a configuration written by skyward-operator: {error} is missing") from None


def render_config(config: ClientConfig) -> str:
    """The kubeconfig text that `load_config` reads; kubectl keeps and ignores the extension."""
    name = "skyward"
    extensions = [{"name": TASKS_EXTENSION, "extension": {"address": config.tasks}}]
    if config.state is not None:
        extensions.append({"name": STATE_EXTENSION, "extension": {"directory": str(config.state)}})
    cluster = {
        "server": config.server,
        "certificate-authority-data": base64.b64encode(config.ca_pem.encode()).decode(),
        "tls-server-name": SERVER_NAME,
        "extensions": extensions,
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": config.token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": config.namespace}}],
        "current-context": name,
    }
    text = io.StringIO()
    YAML().dump(document, text)
    return text.getvalue()


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise LookupError(name)


def _state(extensions: list[dict[str, Any]]) -> Path | None:
    for entry in extensions:
        if entry["name"] == STATE_EXTENSION:
            return Path(str(entry["extension"]["directory"]))
    return None
