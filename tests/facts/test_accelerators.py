"""GPU names: what four providers call the same thing is one thing, and what nobody knows is listed and not guessed."""

from __future__ import annotations

import pytest

from skyward.api.accelerators import MEMORY_GB, normalize, parse_accelerator
from skyward.facts import Accelerator, identify

MIB = 1 / 1024
Reported = tuple[str, float | None]
"""What a provider calls it, and the memory of each in GiB where it says."""

AWS: dict[str, Reported] = {
    "B300": ("B300", 275_040 * MIB),
    "B200": ("B200", 183_359 * MIB),
    "H200": ("H200", 144_384 * MIB),
    "H100-80GB": ("H100", 81_920 * MIB),
    "A100-80GB": ("A100", 81_920 * MIB),
    "A100-40GB": ("A100", 40_960 * MIB),
    "L40S": ("L40S", 45_776 * MIB),
    "L4": ("L4", 22_888 * MIB),
    "A10G": ("A10G", 24_576 * MIB),
    "T4": ("T4", 16_384 * MIB),
    "T4G": ("T4g", 16_384 * MIB),
    "V100-32GB": ("V100", 32_768 * MIB),
    "V100-16GB": ("V100", 16_384 * MIB),
    "RTXPRO6000": ("RTX PRO Server 6000", 96 * 1.0),
    "RTXPRO4500": ("RTX PRO 4500", 32 * 1.0),
}
DIGITALOCEAN: dict[str, Reported] = {
    "B300": ("nvidia_b300", 288.0),
    "H200": ("nvidia_h200", 141.0),
    "H100-80GB": ("nvidia_h100", 80.0),
    "L40S": ("nvidia_l40s", 48.0),
    "RTX6000ADA": ("nvidia_rtx6000_ada", 48.0),
    "RTX4000ADA": ("nvidia_rtx4000_ada", 20.0),
    "MI300X": ("amd_mi300x", 192.0),
    "MI325X": ("amd_mi325x", 256.0),
    "MI350X": ("amd_mi350x", 288.0),
    "MI355X": ("amd_mi355x", 288.0),
}
VASTAI: dict[str, Reported] = {
    "B200": ("B200", 183_359 * MIB),
    "H200": ("H200", 143_771 * MIB),
    "H200-NVL": ("H200 NVL", 143_771 * MIB),
    "H100-80GB": ("H100 SXM", 81_559 * MIB),
    "H100-80GB-PCIE": ("H100 PCIE", 81_559 * MIB),
    "H100-94GB": ("H100 NVL", 95_830 * MIB),
    "GH200-96GB": ("GH200 SXM", 97_871 * MIB),
    "A100-80GB": ("A100 SXM4", 81_920 * MIB),
    "A100-40GB": ("A100 PCIE", 40_960 * MIB),
    "L40S": ("L40S", 46_068 * MIB),
    "L40": ("L40", 46_068 * MIB),
    "L4": ("L4", 23_034 * MIB),
    "A10G": ("A10g", 23_028 * MIB),
    "A10": ("A10", 23_028 * MIB),
    "A40": ("A40", 46_068 * MIB),
    "T4": ("Tesla T4", 15_360 * MIB),
    "V100-32GB": ("Tesla V100", 32_768 * MIB),
    "V100-16GB": ("Tesla V100", 16_384 * MIB),
    "RTXPRO6000": ("RTX PRO 6000 S", 97_887 * MIB),
    "RTXPRO6000-WS": ("RTX PRO 6000 WS", 97_887 * MIB),
    "RTX6000ADA": ("RTX 6000Ada", 49_140 * MIB),
    "RTX4000ADA": ("RTX 4000Ada", 20_475 * MIB),
    "RTXA6000": ("RTX A6000", 49_140 * MIB),
    "RTX5090": ("RTX 5090", 32_607 * MIB),
    "RTX4090": ("RTX 4090", 24_564 * MIB),
    "RTX3090": ("RTX 3090", 24_576 * MIB),
}
VERDA: dict[str, Reported] = {
    "B300": ("B300 SXM6 268GB", None),
    "B200": ("B200 SXM6 180GB", None),
    "H200": ("H200 SXM5 141GB", None),
    "H100-80GB": ("H100 SXM5 80GB", None),
    "A100-80GB": ("A100 SXM4 80GB", None),
    "A100-40GB": ("A100 SXM4 40GB", None),
    "L40S": ("L40S 48GB", None),
    "V100-16GB": ("8x NVidia Tesla V100", 16.0),
    "RTXPRO6000": ("RTX PRO 6000 96GB", None),
    "RTX6000ADA": ("RTX 6000 Ada 48GB", None),
    "RTXA6000": ("RTX A6000 48GB", None),
}
CATALOGUES = {"aws": AWS, "digitalocean": DIGITALOCEAN, "vastai": VASTAI, "verda": VERDA}
CASES = [
    pytest.param(wanted, *reported, id=f"{provider} {reported[0]} {wanted}")
    for provider, catalogue in CATALOGUES.items()
    for wanted, reported in catalogue.items()
]
CANONICAL = {
    wanted.removesuffix("-WS").removesuffix("-PCIE").removesuffix("-NVL")
    for one in CATALOGUES.values()
    for wanted in one
}


@pytest.mark.parametrize(("wanted", "reported", "memory_gb"), CASES)
def test_every_provider_s_word_is_what_a_manifest_asks_for(wanted: str, reported: str, memory_gb: float | None) -> None:
    found = identify(reported, 8, memory_gb)

    assert found is not None
    assert found.is_known
    assert found.is_asked_for(parse_accelerator(f"{wanted.removesuffix('-WS')}:8"))
    for other in CANONICAL - {wanted.removesuffix("-WS").removesuffix("-PCIE").removesuffix("-NVL")}:
        assert not found.is_asked_for(parse_accelerator(f"{other}:8")), other


def test_the_table_covers_thirty_names_and_what_labels_say_can_be_asked_for() -> None:
    assert len(CANONICAL) >= 30

    for family, memories in MEMORY_GB.items():
        for memory_gb in memories:
            found = identify(family, 4, memory_gb)
            assert found is not None
            assert found.is_asked_for(parse_accelerator(found.label)), found.label


@pytest.mark.parametrize(
    ("asked", "takes"),
    [
        ("H100", True),
        ("h100-nvl", True),
        ("NVIDIA H100 94GB", True),
        ("H100-SXM", False),
        ("H100-80GB", False),
        ("H100:2", False),
        ("H200", False),
        ("H10", False),
    ],
)
def test_memory_and_form_count_only_when_they_are_asked_for(asked: str, takes: bool) -> None:
    found = identify("H100 NVL", 1, 95_830 * MIB)

    assert found == Accelerator("H100", 1, 94, "NVL")
    assert found.is_asked_for(parse_accelerator(asked)) is takes


@pytest.mark.parametrize("name", ["Gaudi HL-205", "RTX 4090 D", "H100X", "Xilinx VU9P"])
def test_an_unknown_name_is_itself_alone(name: str) -> None:
    found = identify(name, 1, 24)

    assert found is not None
    assert not found.is_known
    assert found.is_asked_for(parse_accelerator(name))
    assert not any(found.is_asked_for(parse_accelerator(family)) for family in MEMORY_GB)


def test_a_memory_that_a_family_is_not_sold_with_is_not_taken_for_another() -> None:
    odd = identify("A100", 1, 60)

    assert odd is not None
    assert (odd.is_known, odd.label) == (False, "A100-60GB:1")
    assert not odd.is_asked_for(parse_accelerator("A100"))
    assert odd.is_asked_for(parse_accelerator("A100-60GB"))


def test_the_count_is_the_structured_one_and_a_fraction_is_none() -> None:
    many = identify("8x NVidia Tesla V100", 4, 16)

    assert many is not None
    assert many.count == 4
    assert identify("L4", 0, 24) is None
    assert identify("NVIDIA", 1, 24) is None


def test_without_a_memory_none_is_made_up() -> None:
    assert identify("A100", 1) == Accelerator("A100", 1, 0.0)
    assert identify("H200", 1) == Accelerator("H200", 1, 141)


@pytest.mark.parametrize("text", ["", ":2", "H100:0", "H100:-1", "H100:x", "H100:8:2", "80GB", "NVIDIA"])
def test_what_names_no_accelerator_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="write it like H100"):
        parse_accelerator(text)


def test_spelling_makes_no_difference() -> None:
    spellings = ["RTX 6000 Ada", "rtx-6000-ada", "RTX_6000_Ada", "NVIDIA RTX 6000 Ada Generation", "rtx6000ada"]

    assert {normalize(text).family for text in spellings} == {"RTX6000ADA"}
