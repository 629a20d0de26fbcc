"""Settings of the operator: one model, read once, passed down. Every field is also a variable `SKYWARD_…`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LogSettings(_Group):
    format: Literal["console", "json"] = "console"
    """Readable text, coloured on a terminal; or one JSON object a line."""
    level: Literal["debug", "info", "warning", "error"] = "info"


class IntakeSettings(_Group):
    poll_s: float = Field(default=10.0, gt=0)
    """How often the directory is read although the watcher says nothing; a dead watcher costs at most this."""
    absence_s: float = Field(default=10.0, ge=0)
    """A pool counts as removed only when its document was missing in two readings this far apart."""
    hold_pools: int = Field(default=1, ge=1)
    """One reading may remove, or scale to zero, so many pools without an approval: one is somebody's plain edit."""
    hold_share: float = Field(default=0.25, ge=0, le=1)
    """The same as a share of all pools; the larger of the two counts. More at once is rather a wrong branch than a wish."""
    hold_nodes: int = Field(default=10, ge=0)
    """So many nodes may be lost that way, and by several pools made smaller: as many as a person still has an eye on."""


class CeilingSettings(_Group):
    """What no plan gets past, however it came about: counted from instances and create calls, not from records. A pool that
    reaches one says `WithinLimits=False`; what runs stays."""

    pool_instances: int = Field(default=1000, ge=0)
    """Instances of one pool, leaving ones included; ten times what a large pool has."""
    instances: int = Field(default=10_000, ge=0)
    """Instances of all pools: what one operator is built for."""
    pool_creates: int = Field(default=500, ge=1)
    """Instances that one pool asks for within ten minutes: a pool that makes and loses nodes all the time stops there."""
    creates: int = Field(default=2000, ge=1)
    """Instances that all pools ask for within ten minutes."""
    pool_usd_per_hour: float = Field(default=500.0, ge=0)
    """$/h of one pool: five nodes of eight large GPUs."""
    usd_per_hour: float = Field(default=1000.0, ge=0)
    """$/h of all pools: what a weekend of a mistake may cost at most is 64 times this."""


class ControllerSettings(_Group):
    resync_s: float = Field(default=30.0, gt=0)
    """How often every object is looked at although nothing woke its reconciler."""
    workers: int = Field(default=16, ge=1)
    """Nodes reconciled at once; they wait for the store alone."""
    create_timeout_s: float = Field(default=120.0, gt=0)
    """A create call without an answer after this long has an unknown outcome."""
    creates_at_once: int = Field(default=16, ge=2)
    """Create calls under way at one provider; a pool holds at most half of them, so that one that hangs holds up no other."""
    ceilings: CeilingSettings = CeilingSettings()
    agent_lease_s: float = Field(default=30.0, gt=0)
    """A node whose agent was silent this long loses its attempts."""


def default_state(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/skyward`, by default `~/.local/state/skyward`."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local" / "state")
    return Path(base) / "skyward"


def default_cache(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/skyward`, by default `~/.cache/skyward`."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".cache")
    return Path(base) / "skyward"


class PayloadSettings(_Group):
    """Large arguments, results and files are kept below `state/payloads` until no task names them."""

    disk_bytes: int = Field(default=64 * 2**30, ge=0)
    """All of them together: a larger one is refused, and what finds no room is told so."""
    disk_free_bytes: int = Field(default=2**30, ge=0)
    """So much of the disk they leave to others, the operator's own database first of all."""
    s3_bucket: str | None = None
    """`BUCKET` or `BUCKET/PREFIX`: payloads are kept there, and pass through the directory. `disk_bytes` then limits the bucket
    too. Credentials are found as AWS's own tools find them."""
    s3_endpoint: str | None = None
    """Of a service like S3 that is not AWS."""
    s3_region: str | None = None


class Settings(BaseSettings):
    """Everything the operator may be told. An unknown key is an error."""

    model_config = SettingsConfigDict(
        env_prefix="SKYWARD_", env_nested_delimiter="__", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    manifests: Path = Path("manifests")
    """The watched directory."""
    state: Path = Field(default_factory=lambda: default_state(os.environ))
    """Everything the operator must not lose; one operator at a time."""
    cache: Path = Field(default_factory=lambda: default_cache(os.environ))
    """Python environments of local nodes, one for each recipe; may be removed while no local node runs."""
    installation: str | None = None
    """For a new state directory: the installation, by its uid, whose instances are to be taken over. None makes a new one."""
    listen: str = "127.0.0.1:6780"
    """Address of the HTTP API. Port 0 picks a free one."""
    tasks: str = "127.0.0.1:6781"
    """Address of the task listener for clients and agents."""
    kubeconfig: Path | None = None
    """Where to write the client configuration; `STATE/kubeconfig` when absent."""
    log: LogSettings = LogSettings()
    intake: IntakeSettings = IntakeSettings()
    controllers: ControllerSettings = ControllerSettings()
    payloads: PayloadSettings = PayloadSettings()

    @field_validator("listen", "tasks")
    @classmethod
    def _is_address(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("manifests", "state", "cache", "kubeconfig")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()


def split_address(value: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` (`[::1]:80` for IPv6). Raises ValueError with the remedy."""
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not an address: write HOST:PORT, like 127.0.0.1:6780")
    return host.strip("[]"), int(port)
