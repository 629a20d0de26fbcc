"""Pool: what a user declares, and what the operator reports of it.

Each spec field is marked with what changing it does: `in-place` acts on running nodes, `replace` enters the
template hash and so rolls the nodes, `immutable` is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from skyward.api.accelerators import AcceleratorText
from skyward.api.base import Json, Word
from skyward.api.conditions import Condition
from skyward.api.health import HealthCheckSpec
from skyward.api.held import Held
from skyward.api.meta import Object, ObjectMeta, check_name
from skyward.api.offerings import (
    SPOT_FIRST,
    Allocation,
    InstanceType,
    OfferingsSpec,
    Requirements,
    ResourcesSpec,
    SpotSpec,
    with_providers,
)
from skyward.api.providers import LOCAL, AnyProvider, ProviderSpec
from skyward.api.quantities import Duration, DurationOrOff
from skyward.api.ranges import Money
from skyward.api.rollout import DisruptionSpec, RolloutSpec

IN_PLACE: dict[str, Any] = {"x-skyward-change": "in-place"}
REPLACE: dict[str, Any] = {"x-skyward-change": "replace"}

UNSUPPORTED = frozenset(
    {
        "autoscale",
        "schedule",
        "limits",
        "secrets",
        "volumes",
        "plugins",
        "hostKeys",
        "ttl",
        "expireAfter",
        "deletionPolicy",
    }
)
"""Fields of the full API that this version refuses by name."""

UNSUPPORTED_WITHIN = {
    "image": frozenset({"base"}),
}

_ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
EnvName = Annotated[str, Field(pattern=_ENV_NAME)]


def _refuse(name: str, data: Any, fields: frozenset[str]) -> None:
    if isinstance(data, dict):
        for field in fields & data.keys():
            raise ValueError(f"{name}.{field} is not supported by this version; remove it")


class PipSpec(Word):
    """Packages and where they come from."""

    packages: tuple[str, ...] = ()
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


class ImageFile(Word):
    """A small file that every node has."""

    path: str
    """Absolute, or relative to the node's home."""
    content: str
    mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "0644"

    @field_validator("path")
    @classmethod
    def _stays_below(cls, path: str) -> str:
        if not path or path.endswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} is not the path of a file: name one without '..' that does not end in '/'")
        return path


class SetupStep(Word):
    """A shell command that a node runs once, in the order given."""

    run: str
    name: str | None = None
    unless: str | None = None
    """The step is skipped when this command succeeds."""
    timeout: Duration = "10m"


class ImageSpec(Word):
    """What a node must have before it runs tasks; it becomes the bootstrap recipe."""

    python: Annotated[str, Field(pattern=r"^3\.(1[1-9]|[2-9]\d)$")] | None = None
    """Minor version; the operator's own when absent."""
    apt: tuple[str, ...] = ()
    pip: PipSpec = PipSpec()
    """A list of packages, or `{packages, indexUrl, extraIndexUrls, findLinks}`."""
    requirements: str | None = None
    """The text of a requirements file."""
    env: dict[EnvName, str] = Field(default_factory=dict)
    setup: tuple[SetupStep, ...] = ()
    """Shell commands: a string each, or `{run, name, unless, timeout}`."""
    files: tuple[ImageFile, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        _refuse("spec.image", data, UNSUPPORTED_WITHIN["image"])
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("pip"), list | tuple):
            data["pip"] = {"packages": data["pip"]}
        if isinstance(data.get("setup"), list | tuple):
            data["setup"] = tuple({"run": step} if isinstance(step, str) else step for step in data["setup"])
        return data


class PoolSpec(Word):
    nodes: Annotated[int, Field(ge=0, le=1000, strict=True, json_schema_extra=IN_PLACE)]
    """How many nodes."""
    providers: Annotated[tuple[AnyProvider, ...], Field(json_schema_extra=REPLACE)] = ()
    """Where; several mean any of them, cheapest first. `provider: NAME` is short for a list of one."""
    offerings: Annotated[OfferingsSpec | None, Field(json_schema_extra=REPLACE)] = None
    """Instead of `providers`: several ways to get a machine, in order or any of them."""
    accelerator: Annotated[AcceleratorText | None, Field(json_schema_extra=REPLACE)] = None
    """Of each node: `H100`, `H100:8`, `A100-80GB:4`."""
    instance_type: Annotated[InstanceType | None, Field(json_schema_extra=REPLACE)] = None
    """The provider's own word for a type; then `accelerator` and `resources` choose no more."""
    requirements: Annotated[Requirements, Field(json_schema_extra=REPLACE)] = ()
    """What machines must, or must not, be."""
    allocation: Annotated[Allocation | None, Field(json_schema_extra=REPLACE)] = None
    """Capacity type. Absent: `on-demand`."""
    spot: Annotated[SpotSpec, Field(json_schema_extra=IN_PLACE)] = SpotSpec()
    """How spot machines are used; for nodes that are made from then on."""
    max_hourly_cost: Annotated[Money | None, Field(json_schema_extra=IN_PLACE)] = None
    """US dollars for one node: what costs more is not considered for nodes that are made from then on."""
    image: Annotated[ImageSpec, Field(json_schema_extra=REPLACE)] = ImageSpec()
    resources: Annotated[ResourcesSpec, Field(json_schema_extra=REPLACE)] = ResourcesSpec()
    env: Annotated[dict[EnvName, str], Field(json_schema_extra=IN_PLACE)] = Field(default_factory=dict)
    """For every task."""
    concurrency: Annotated[int, Field(ge=1, le=256, strict=True)] | Literal["auto"] = Field(
        default=1, json_schema_extra=IN_PLACE
    )
    """Lanes: how many tasks a node runs at once; `auto` is one for each CPU the node has."""
    executor: Annotated[Literal["process", "thread"], Field(json_schema_extra=IN_PLACE)] = "process"
    """What a lane is: a process of its own, or a thread of one process, for many light calls."""
    connection: Annotated[Literal["auto", "tunnel", "direct"], Field(json_schema_extra=REPLACE)] = "auto"
    """How agents reach the operator; `auto` is `direct` on the same host and `tunnel` elsewhere."""
    rollout: Annotated[RolloutSpec, Field(json_schema_extra=IN_PLACE)] = RolloutSpec()
    """How nodes are replaced when the template changes."""
    disruption: Annotated[DisruptionSpec, Field(json_schema_extra=IN_PLACE)] = DisruptionSpec()
    """How many nodes may be disrupted by choice at once; without budgets, what `rollout` allows."""
    health_check: Annotated[HealthCheckSpec | None, Field(json_schema_extra=IN_PLACE)] = None
    """What each node must pass to become and to stay ready. Absent: its agent's word is enough."""
    drain_timeout: Annotated[Duration, Field(json_schema_extra=IN_PLACE)] = "5m"
    """How long a node that leaves may finish its running tasks."""
    orphan_timeout: Annotated[DurationOrOff | None, Field(json_schema_extra=IN_PLACE)] = None
    """A node this long without its operator stops itself. Absent: `10m` on the local provider."""
    queue: Annotated[Literal["open", "held"], Field(json_schema_extra=IN_PLACE)] = "open"
    """`held`: nothing more is given out; what runs goes on, and what is submitted waits."""
    paused: Annotated[bool, Field(strict=True, json_schema_extra=IN_PLACE)] = False
    """Observe and report; change nothing."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        _refuse("spec", data, UNSUPPORTED)
        return with_providers(data)

    @model_validator(mode="after")
    def _says_where(self) -> PoolSpec:
        if not self.providers and self.offerings is None:
            raise ValueError("providers: must name at least one; or give offerings, of which each names its own")
        if self.providers and self.offerings is not None:
            raise ValueError("offerings and providers exclude each other; keep one")
        return self

    @model_validator(mode="after")
    def _shopping_fits_the_providers(self) -> PoolSpec:
        if any(place.name == LOCAL for place in self.places):
            _refuse_on_local(self)
        if self.spot == SpotSpec():
            return self
        allocations = (
            {self.allocation, *(entry.allocation for entry in self.offerings.entries)}
            if self.offerings
            else {self.allocation}
        )
        if not allocations & {*SPOT_FIRST, "cheapest"}:
            raise ValueError(
                "spot means nothing without spot machines: give allocation: spot, spot-if-available or cheapest"
            )
        return self

    @model_validator(mode="after")
    def _image_fits_the_providers(self) -> PoolSpec:
        if not any(place.name == LOCAL for place in self.places):
            return self
        if any(file.path.startswith("/") for file in self.image.files):
            raise ValueError(
                "image.files takes no absolute path on the local provider: its nodes share this host and must not "
                "change its files; give a path relative to the node's home"
            )
        if self.image.apt:
            raise ValueError(
                "image.apt is refused on the local provider: its nodes share this host and must not change its "
                "packages; install them on the host yourself"
            )
        return self

    @model_validator(mode="after")
    def _threads_share_their_memory(self) -> PoolSpec:
        if self.executor == "thread" and self.resources.memory is not None:
            raise ValueError(
                "executor: thread excludes resources.memory: all tasks of a node share one process, so that none has a "
                "limit of its own; remove one of the two"
            )
        return self

    @property
    def places(self) -> tuple[ProviderSpec, ...]:
        """Everywhere that nodes may come from, in order."""
        if self.offerings is None:
            return self.providers
        return tuple(place for entry in self.offerings.entries for place in entry.providers)

    def template(self) -> Json:
        """The part of the spec that decides how a node is born: the fields marked `replace` that differ from their default.
        Asked for with every look at a node, so it is made once: take it as it is."""
        return self._template

    @property
    def template_hash(self) -> str:
        return self._template_hash

    @cached_property
    def _template(self) -> Json:
        return self.model_dump(mode="json", by_alias=True, include=REPLACE_FIELDS, exclude_defaults=True)

    @cached_property
    def _template_hash(self) -> str:
        return hash_template(self._template)

    def __copy__(self) -> Self:
        """Without what was made of it: the copy is about to get other fields."""
        copied = super().__copy__()
        for name in ("_template", "_template_hash"):
            copied.__dict__.pop(name, None)
        return copied

    def with_template(self, template: Json) -> PoolSpec:
        """This spec, its nodes made from that template instead; all else stays."""
        kept = self.model_dump(mode="json", by_alias=True, exclude=REPLACE_FIELDS, exclude_defaults=True)
        return PoolSpec.model_validate({**kept, **template})


def _refuse_on_local(spec: PoolSpec) -> None:
    """Raises ValueError: there is nothing to choose from on this host."""
    entries = spec.offerings.entries if spec.offerings is not None else ()
    local = [entry for entry in entries if any(place.name == LOCAL for place in entry.providers)]
    said = {
        "accelerator": spec.accelerator or any(entry.accelerator for entry in local),
        "instanceType": spec.instance_type or any(entry.instance_type for entry in local),
        "requirements": spec.requirements or any(entry.requirements for entry in local),
        "allocation": spec.allocation or any(entry.allocation for entry in local),
        "maxHourlyCost": spec.max_hourly_cost or any(entry.max_hourly_cost for entry in local),
        "spot": spec.spot != SpotSpec(),
        "resources.cpu": spec.resources.cpu or any(entry.resources.cpu for entry in local),
        "resources.disk": spec.resources.disk or any(entry.resources.disk for entry in local),
    }
    refused = next((name for name, is_said in said.items() if is_said), None)
    if refused is not None:
        raise ValueError(
            f"{refused} is refused on the local provider: its nodes are processes of this host, so that there is nothing to "
            "choose; remove one of the two"
        )


def _replace_fields() -> Iterator[str]:
    for name, field in PoolSpec.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("x-skyward-change") == "replace":
            yield name


REPLACE_FIELDS = set(_replace_fields())


def template_hash(spec: PoolSpec) -> str:
    """Sixteen hex digits that change exactly when a node would have to be replaced.

    Fields at their default stay out, so a field added by a later version never changes an old hash. Changing a
    default would: keep the old value here by name when that day comes (a golden test guards it).
    """
    return spec.template_hash


def hash_template(template: Json) -> str:
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class PoolStatus(Word):
    observed_generation: int = 0
    nodes: int = 0
    """Nodes that exist, leaving ones included."""
    ready: int = 0
    available: int = 0
    up_to_date: int = 0
    pending: int = 0
    busy: int = 0
    queued: int = 0
    running: int = 0
    hourly_cost: str = "0"
    """US dollars, decimal."""
    offering: str = ""
    revision: str = ""
    """Hash of the manifest snapshot the spec came from."""
    template_hash: str = ""
    file: str = ""
    """The manifest, relative to its source, with the document's line: `team/a.yaml:12`."""
    held: Held | None = None
    """What its manifest, or the lack of it, would take away and does not, until it is approved. Written by intake."""
    conditions: tuple[Condition, ...] = ()


class Pool(Object):
    KIND: ClassVar[str] = "Pool"
    PLURAL: ClassVar[str] = "pools"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("pool",)

    kind: Literal["Pool"] = "Pool"
    spec: PoolSpec
    status: PoolStatus = PoolStatus()

    @field_validator("metadata")
    @classmethod
    def _named_like_hosts(cls, metadata: ObjectMeta) -> ObjectMeta:
        check_name(metadata.name)
        check_name(metadata.namespace)
        return metadata
