"""Shopping words of a Pool's spec: what machines may be, in which order they are looked for, and how spot is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from skyward.api.accelerators import AcceleratorText
from skyward.api.base import Json, Word
from skyward.api.providers import AnyProvider
from skyward.api.quantities import DurationOrOff, IntOrPercent
from skyward.api.ranges import Counts, Money, Sizes
from skyward.api.requirements import Requirement

Allocation = Literal["spot", "on-demand", "spot-if-available", "cheapest"]
SPOT_FIRST = ("spot", "spot-if-available")
InstanceType = Annotated[str, Field(min_length=1, max_length=100)]
Requirements = Annotated[tuple[Requirement, ...], Field(max_length=50)]


class ResourcesSpec(Word):
    cpu: Counts | None = None
    """CPUs of each machine, at least: `8`, `8+` or `4..16`."""
    memory: Sizes | None = None
    """Memory of each machine, at least; its upper end is the most that one task's child process may use, too."""
    disk: Sizes | None = None
    """Disk of each machine, at least."""


class SpotSpec(Word):
    base_on_demand: IntOrPercent = 0
    """So many nodes, the lowest slots, are on demand whatever `allocation` says; a share rounds up."""
    fallback_after: DurationOrOff | None = None
    """A node that found no spot machine for so long is made on demand. Absent: at once with `spot-if-available`, never with
    `spot`."""
    return_after: DurationOrOff = "off"
    """A node that was made on demand for lack of spot machines is replaced after so long, once there are some again."""


class OfferingSpec(Word):
    """One way to get a machine. What it leaves out is taken from the pool; `requirements` of both hold."""

    providers: Annotated[tuple[AnyProvider, ...], Field(min_length=1)]
    """Where. `provider: NAME` is short for a list of one."""
    accelerator: AcceleratorText | None = None
    resources: ResourcesSpec = ResourcesSpec()
    instance_type: InstanceType | None = None
    requirements: Requirements = ()
    allocation: Allocation | None = None
    max_hourly_cost: Money | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return with_providers(data)


class OfferingsSpec(Word):
    """Either list, never both."""

    ordered: Annotated[tuple[OfferingSpec, ...], Field(max_length=50)] = ()
    """The first of them that has anything to offer is taken, whatever the others cost."""
    any_of: Annotated[tuple[OfferingSpec, ...], Field(max_length=50)] = ()
    """All of them are looked at together, the cheapest is taken."""

    @model_validator(mode="after")
    def _is_one_list(self) -> OfferingsSpec:
        if bool(self.ordered) is bool(self.any_of):
            raise ValueError("offerings takes one of ordered and anyOf, with at least one entry")
        return self

    @property
    def entries(self) -> tuple[OfferingSpec, ...]:
        return self.ordered or self.any_of


def with_providers(data: Any) -> Any:
    """`provider: NAME` written out."""
    if not isinstance(data, dict) or "provider" not in data:
        return data
    if "providers" in data:
        raise ValueError("provider and providers exclude each other; keep one")
    return {
        **{name: value for name, value in data.items() if name != "provider"},
        "providers": ({"name": data["provider"]},),
    }


def places_of(template: Json) -> Iterator[Json]:
    """The provider entries of a template, in order."""
    yield from template.get("providers", ())
    offerings = template.get("offerings")
    if offerings:
        for entry in offerings.get("ordered") or offerings.get("anyOf") or ():
            yield from entry.get("providers", ())


def driver_options(entry: Json) -> Json:
    """What a driver is given of a provider entry: its own options, and the place where one is named."""
    places = {name: entry[name] for name in ("region", "zone") if entry.get(name) is not None}
    return {**entry.get("options", {}), **places}
