"""Whether an offering is what a pool asks for. What a provider does not tell never fits a wish for it."""

from __future__ import annotations

from collections.abc import Callable

from skyward.api import Requirement
from skyward.api.accelerators import normalize
from skyward.api.ranges import Range
from skyward.api.requirements import NUMBER_KEYS
from skyward.facts import Offering
from skyward.planner.shopping import Want

_READ: dict[str, Callable[[Offering], str | float | None]] = {
    "provider": lambda one: one.provider,
    "region": lambda one: one.region,
    "zone": lambda one: one.zone,
    "instance-type": lambda one: one.name,
    "host-id": lambda one: one.host_id,
    "capacity-type": lambda one: one.capacity_type,
    "arch": lambda one: one.arch,
    "gpu-name": lambda one: one.accelerator.name if one.accelerator else None,
    "gpu-form": lambda one: one.accelerator.form if one.accelerator else None,
    "gpu-count": lambda one: one.accelerator.count if one.accelerator else None,
    "gpu-memory": lambda one: (one.accelerator.memory_gb or None) if one.accelerator else None,
    "cpu": lambda one: one.vcpus,
    "memory": lambda one: one.memory_gb,
    "disk": lambda one: one.disk_gb,
    "hourly-cost": lambda one: one.usd_per_hour,
}
PLACE, TYPE, ACCELERATOR, CPU, MEMORY, DISK = "place", "instance type", "accelerator", "cpu", "memory", "disk"


def misfit(offering: Offering, want: Want) -> tuple[str, str] | None:
    """What is wrong with it, in one word for counting and in a sentence; None when it is what is wanted. Price and capacity type
    are looked at elsewhere."""
    if not any(place.covers(offering.provider, offering.region, offering.zone) for place in want.places):
        return PLACE, f"is in another {PLACE}"
    if want.instance_type is not None:
        if offering.name != want.instance_type:
            return TYPE, f"is not {want.instance_type}"
    elif (found := _of_the_machine(offering, want)) is not None:
        return found
    for requirement in want.requirements:
        if not meets(offering, requirement):
            return requirement.key, f"does not meet {requirement}"
    return None


def _of_the_machine(offering: Offering, want: Want) -> tuple[str, str] | None:
    accelerator = offering.accelerator
    if want.accelerator is not None and (accelerator is None or not accelerator.is_asked_for(want.accelerator)):
        return ACCELERATOR, f"has {accelerator.label if accelerator else 'no accelerator'}"
    for what, unit, has, range_ in (
        (CPU, "CPUs", offering.vcpus, want.cpu),
        (MEMORY, "GB of memory", offering.memory_gb, want.memory_gb),
        (DISK, "GB of disk", offering.disk_gb, want.disk_gb),
    ):
        if range_ is not None and not _holds(range_, has):
            return what, f"has {'an unknown number of' if has is None else f'{has:g}'} {unit}"
    return None


def _holds(range_: Range, has: float | None) -> bool:
    """A plain quantity and an open range ask for at least so much."""
    return has is not None and range_.holds(has)


def meets(offering: Offering, requirement: Requirement) -> bool:
    found = _READ[requirement.key](offering)
    match requirement.operator:
        case "Exists":
            return found is not None and found != ""
        case "DoesNotExist":
            return found is None or found == ""
        case "NotIn":
            return not _is_one_of(found, requirement)
        case "In":
            return _is_one_of(found, requirement)
        case "Gt":
            return isinstance(found, float | int) and found > float(requirement.values[0])
        case "Lt":
            return isinstance(found, float | int) and found < float(requirement.values[0])


def _is_one_of(found: str | float | None, requirement: Requirement) -> bool:
    if found is None or found == "":
        return False
    if requirement.key in NUMBER_KEYS:
        return float(found) in {float(value) for value in requirement.values}
    if requirement.key == "gpu-name":
        return str(found) in {normalize(value).family for value in requirement.values}
    return str(found) in requirement.values
