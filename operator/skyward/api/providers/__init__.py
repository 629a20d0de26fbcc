"""Where machines come from: the provider part of a Pool's spec, with each driver's own options.

A new driver adds a file here with its options and its `ProviderSpec`, and a line to `PROVIDERS` and to `AnyProvider`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator

from skyward.api.base import Json
from skyward.api.providers.base import KNOWN, ProviderOptions, ProviderSpec
from skyward.api.providers.local import LOCAL, LocalFaults, LocalOptions, LocalProvider

PROVIDERS: dict[str, type[ProviderSpec]] = {LOCAL: LocalProvider}
SUPPORTED = tuple(PROVIDERS)
_OTHER = "other"
_plugged: set[str] = set()


def plug_in(name: str) -> None:
    """Let manifests name a provider whose driver is not one of ours. Its driver alone knows its options."""
    _plugged.add(name)


class OtherProvider(ProviderSpec):
    """A provider that was plugged in. Every name that is nobody's ends here, and is refused."""

    options: Json = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _plugged_in(cls, name: str) -> str:
        if name in _plugged:
            return name
        if name in KNOWN:
            raise ValueError(f"provider {name!r} is not supported by this version; supported: {', '.join(SUPPORTED)}")
        raise ValueError(f"there is no provider {name!r}; supported: {', '.join(SUPPORTED)}")


def _tag(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return name if isinstance(name, str) and name in PROVIDERS else _OTHER


AnyProvider = Annotated[
    Annotated[LocalProvider, Tag(LOCAL)] | Annotated[OtherProvider, Tag(_OTHER)],
    Discriminator(_tag),
]

__all__ = [
    "KNOWN",
    "LOCAL",
    "PROVIDERS",
    "SUPPORTED",
    "AnyProvider",
    "LocalFaults",
    "LocalOptions",
    "LocalProvider",
    "OtherProvider",
    "ProviderOptions",
    "ProviderSpec",
    "plug_in",
]
