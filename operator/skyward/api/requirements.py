"""Requirements: what an offering must, or must not, be. Kubernetes' operators over a closed list of keys."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from skyward.api.base import Word
from skyward.api.ranges import as_text

TEXT_KEYS = ("provider", "region", "zone", "instance-type", "host-id", "capacity-type", "arch", "gpu-name", "gpu-form")
NUMBER_KEYS = ("gpu-count", "gpu-memory", "cpu", "memory", "disk", "hourly-cost")
"""Memory and disk in GB, that of a GPU each; costs in US dollars."""
KEYS = (*TEXT_KEYS, *NUMBER_KEYS)
CAPACITY_TYPES = ("on-demand", "spot", "reserved")


class Requirement(Word):
    key: Annotated[str, Field(json_schema_extra={"enum": list(KEYS)})]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: Annotated[tuple[Annotated[str, BeforeValidator(as_text)], ...], Field(max_length=100)] = ()
    """One number for Gt and Lt, none for Exists and DoesNotExist, else one or more."""

    @field_validator("key")
    @classmethod
    def _known(cls, key: str) -> str:
        if key in KEYS:
            return key
        near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KEYS)}"
        raise ValueError(f"there is no requirement {key!r}; {hint}")

    @model_validator(mode="after")
    def _has_the_values_it_needs(self) -> Requirement:
        match self.operator:
            case "Exists" | "DoesNotExist" if self.values:
                raise ValueError(f"values: {self.operator} takes none; remove them")
            case "In" | "NotIn" if not self.values:
                raise ValueError(f"values: {self.operator} needs at least one")
            case "Gt" | "Lt" if self.key not in NUMBER_KEYS:
                raise ValueError(f"operator: {self.key} is no number, so that {self.operator} says nothing about it")
            case "Gt" | "Lt" if len(self.values) != 1:
                raise ValueError(f"values: {self.operator} takes exactly one number")
        if self.key in NUMBER_KEYS and (bad := next((one for one in self.values if not _is_number(one)), None)):
            raise ValueError(f"values: {self.key} is a number, not {bad!r}")
        if self.key == "capacity-type" and (strange := set(self.values) - set(CAPACITY_TYPES)):
            raise ValueError(f"values: there is no capacity type {min(strange)!r}; known: {', '.join(CAPACITY_TYPES)}")
        return self

    def __str__(self) -> str:
        words = {
            "In": "in",
            "NotIn": "not in",
            "Gt": ">",
            "Lt": "<",
            "Exists": "exists",
            "DoesNotExist": "does not exist",
        }
        return " ".join(filter(None, (self.key, words[self.operator], ", ".join(self.values))))


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
