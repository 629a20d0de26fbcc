"""Names of accelerators: one spelling for what every provider, and every user, writes in another way.

`NVIDIA Tesla A100 SXM4 80GB`, `A100-80GB` and `a100 80gb` are one family, one memory and one form factor apart from it. Nothing
is looked for by likeness: a name that nobody listed here keeps its own letters and is equal to itself alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

TOLERANCE = 0.07
"""Providers report a little less than what is sold: 22,888 MiB for 24 GB, 45,776 MiB for 48 GB."""
FORMS = ("SXM", "PCIE", "NVL", "OAM")
MEMORY_GB: dict[str, tuple[int, ...]] = {
    "A2": (16,),
    "A10": (24,),
    "A10G": (24,),
    "A16": (16,),
    "A30": (24,),
    "A40": (48,),
    "A100": (40, 80),
    "B200": (180,),
    "B300": (288,),
    "GB200": (186,),
    "GH200": (96, 144),
    "H20": (96, 141),
    "H100": (80, 94),
    "H200": (141,),
    "K80": (12,),
    "L4": (24,),
    "L40": (48,),
    "L40S": (48,),
    "M60": (8,),
    "MI300X": (192,),
    "MI325X": (256,),
    "MI350X": (288,),
    "MI355X": (288,),
    "P100": (16,),
    "RTX3060": (12,),
    "RTX3070": (8,),
    "RTX3080": (10, 12),
    "RTX3090": (24,),
    "RTX4000ADA": (20,),
    "RTX4080": (16,),
    "RTX4090": (24,),
    "RTX5000ADA": (32,),
    "RTX5080": (16,),
    "RTX5090": (32,),
    "RTX6000ADA": (48,),
    "RTXA4000": (16,),
    "RTXA5000": (24,),
    "RTXA6000": (48,),
    "RTXPRO4000": (24,),
    "RTXPRO4500": (32,),
    "RTXPRO5000": (48,),
    "RTXPRO6000": (96,),
    "T4": (16,),
    "T4G": (16,),
    "V100": (16, 32),
}
"""Every family that is known, and what memory it is sold with, each, in GB."""
_ALIASES = {
    "4000ADA": "RTX4000ADA",
    "5000ADA": "RTX5000ADA",
    "6000ADA": "RTX6000ADA",
    "RTX4000ADAGENERATION": "RTX4000ADA",
    "RTX5000ADAGENERATION": "RTX5000ADA",
    "RTX6000ADAGENERATION": "RTX6000ADA",
    "A4000": "RTXA4000",
    "A5000": "RTXA5000",
    "A6000": "RTXA6000",
    "PRO6000": "RTXPRO6000",
    "RTX6000PRO": "RTXPRO6000",
    "RTXPRO6000S": "RTXPRO6000",
    "RTXPRO6000WS": "RTXPRO6000",
    "RTXPRO6000BLACKWELL": "RTXPRO6000",
    "RTXPROSERVER6000": "RTXPRO6000",
    "RTXPROSERVER4500": "RTXPRO4500",
}
_SEPARATORS = re.compile(r"[\s_\-/(),]+")
_NOISE = frozenset(
    {"NVIDIA", "TESLA", "AMD", "GEFORCE", "INSTINCT", "RADEON", "CORPORATION", "TENSOR", "CORE", "GPU", "EACH"}
)
_MULTIPLE = re.compile(r"\d+X")
_MEMORY = re.compile(r"(\d+)(?:GB|GIB)")
_FORM = re.compile(rf"({'|'.join(FORMS)})\d?")
_FUSED = re.compile(rf"([A-Z]+\d+[A-Z]?)({'|'.join(FORMS)})\d?")
_REQUEST = re.compile(r"([^:]+?)(?::([1-9]\d{0,2}))?")


@dataclass(frozen=True, slots=True)
class AcceleratorName:
    family: str
    memory_gb: int | None = None
    """Each; None where the name does not say."""
    form: str = ""
    """One of FORMS; empty where the name does not say."""

    @property
    def is_known(self) -> bool:
        return self.family in MEMORY_GB


@dataclass(frozen=True, slots=True)
class AcceleratorRequest:
    """What a manifest asks for: `H100:8`, `A100-80GB`, `H100-NVL:2`."""

    name: AcceleratorName
    count: int = 1
    """Of each node, exactly."""


def normalize(text: str) -> AcceleratorName:
    """The one spelling of a name. How many there are is never read from it."""
    words = [word for word in _SEPARATORS.split(text.upper()) if word and word not in _NOISE]
    joined = re.sub(r"\b(\d+) (GB|GIB)\b", r"\1\2", " ".join(words)).split()
    family, memory_gb, form = [], None, ""
    for place, word in enumerate(joined):
        if place == 0 and _MULTIPLE.fullmatch(word):
            continue
        if (found := _MEMORY.fullmatch(word)) is not None:
            memory_gb = int(found[1])
        elif (found := _FORM.fullmatch(word)) is not None:
            form = found[1]
        elif (found := _FUSED.fullmatch(word)) is not None:
            family.append(found[1])
            form = found[2]
        else:
            family.append(word)
    name = "".join(family)
    return AcceleratorName(_ALIASES.get(name, name), memory_gb, form)


def parse_accelerator(text: str) -> AcceleratorRequest:
    """Raises ValueError for what is not `NAME` or `NAME:COUNT`. A name that is not known is no error: a provider may list it."""
    match = _REQUEST.fullmatch(text.strip())
    name = normalize(match[1]) if match is not None else None
    if match is None or name is None or not name.family:
        raise ValueError(f"{text!r} is not an accelerator: write it like H100, H100:8 or A100-80GB:4")
    return AcceleratorRequest(name, int(match[2] or 1))


def is_about(one_gb: float, other_gb: float) -> bool:
    """The same memory, as far as its reports differ."""
    return abs(one_gb - other_gb) <= TOLERANCE * max(one_gb, other_gb)


def _check(text: str) -> str:
    parse_accelerator(text)
    return text


AcceleratorText = Annotated[
    str, AfterValidator(_check), WithJsonSchema({"type": "string", "examples": ["H100", "H100:8", "A100-80GB:4"]})
]
