"""The shopping fields of a manifest: what is read, what is refused and how, and what a change of them does."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from skyward.api import PoolSpec, driver_options, places_of, template_hash
from skyward.api.providers import plug_in
from skyward.api.ranges import parse_counts, parse_money, parse_sizes
from skyward.documents import parse_file

plug_in("shop-a")
plug_in("shop-b")


def spec(**fields: Any) -> PoolSpec:
    return PoolSpec.model_validate({"nodes": 2, **({} if "offerings" in fields else {"provider": "shop-a"}), **fields})


def problems(*lines: str) -> list[str]:
    text = "apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {name: a}\nspec:\n  nodes: 2\n"
    return [
        str(one) for one in parse_file("a.yaml", (text + "".join(f"  {line}\n" for line in lines)).encode()).problems
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "be80c593a7419862"),
        ({"accelerator": "A100-80GB:4", "allocation": "spot-if-available"}, "20e1615a443bbaad"),
        (
            {"resources": {"cpu": "8+", "memory": "24GB..80GB", "disk": "100GB"}, "instanceType": "m5.large"},
            "31b90fc04756a964",
        ),
        (
            {"offerings": {"ordered": [{"provider": "shop-a"}, {"provider": "shop-b", "maxHourlyCost": "2"}]}},
            "0680ec97f0db24cc",
        ),
        ({"requirements": [{"key": "cpu", "operator": "Gt", "values": [2]}]}, "2802ff95a8212c2f"),
    ],
    ids=["smallest", "accelerator", "machine", "offerings", "requirements"],
)
def test_the_hash_of_a_shopping_manifest_never_changes(fields: dict[str, Any], expected: str) -> None:
    """Add cases, never change one."""
    assert template_hash(spec(**fields)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"accelerator": "H100:8"},
        {"resources": {"cpu": 8}},
        {"instanceType": "p5.48xlarge"},
        {"requirements": [{"key": "zone", "operator": "NotIn", "values": ["x"]}]},
        {"allocation": "spot"},
        {"offerings": {"anyOf": [{"provider": "shop-a"}]}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_decides_how_a_node_is_born_replaces_it(fields: dict[str, Any]) -> None:
    assert template_hash(spec(**fields)) != template_hash(spec())


def test_what_is_about_new_nodes_alone_replaces_none() -> None:
    before = spec(allocation="spot")
    after = spec(allocation="spot", maxHourlyCost=2.5, spot={"baseOnDemand": "25%", "fallbackAfter": "5m"})

    assert template_hash(before) == template_hash(after)
    assert after.max_hourly_cost == "2.5"


def test_quantities_are_read() -> None:
    assert [parse_counts("8").holds(value) for value in (7, 8, 9)] == [False, True, True]
    assert [parse_counts("4..16").holds(value) for value in (3, 4, 16, 17)] == [False, True, True, False]
    assert parse_sizes("24GB..80GB").holds(80e9)
    assert [parse_sizes(text).limit for text in ("4GB", "4GB+", "4GB..8GB", "..8GB")] == [4e9, None, 8e9, 8e9]
    assert parse_money("0.45") == 0.45


@pytest.mark.parametrize("text", ["", "x", "8-16", "16..4", "..", "+", "-4", "8 + 1", "8++"])
def test_what_is_no_quantity_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_counts(text)
    with pytest.raises(ValueError, match="write it like"):
        parse_sizes(text)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["provider: shop-a", "accelerator: ':8'"],
            "spec.accelerator: ':8' is not an accelerator: write it like H100, H100:8",
        ),
        (["provider: shop-a", "accelerator: 8"], "must be text, not 8; put it in quotes"),
        (["provider: shop-a", "resources: {cpu: many}"], "spec.resources.cpu: 'many' is not a number or a range"),
        (["provider: shop-a", "resources: {disk: 5}"], "spec.resources.disk: must be text, not 5; put it in quotes"),
        (["provider: shop-a", "allocation: cheap"], "spec.allocation: must be 'spot', 'on-demand',"),
        (["provider: shop-a", "maxHourlyCost: free"], "'free' is not an amount of US dollars"),
        (["provider: shop-a", "maxHourlyCost: 0"], "'0' is not an amount of US dollars"),
        (["provider: shop-a", "spot: {baseOnDemand: 1}"], "spec.spot: spot means nothing without spot machines"),
        (["provider: shop-a", "requirements: [{key: cpus, operator: Gt, values: [2]}]"], "did you mean 'cpu'?"),
        (["provider: shop-a", "requirements: [{key: zone, operator: Gt, values: [2]}]"], "operator: zone is no number"),
        (
            ["provider: shop-a", "requirements: [{key: cpu, operator: Gt, values: [2, 3]}]"],
            "Gt takes exactly one number",
        ),
        (["provider: shop-a", "requirements: [{key: cpu, operator: In, values: [x]}]"], "cpu is a number, not 'x'"),
        (["provider: shop-a", "requirements: [{key: zone, operator: In}]"], "In needs at least one"),
        (["provider: shop-a", "requirements: [{key: zone, operator: Exists, values: [a]}]"], "Exists takes none"),
        (
            ["provider: shop-a", "requirements: [{key: capacity-type, operator: In, values: [cheap]}]"],
            "there is no capacity type 'cheap'",
        ),
        (["offerings: {ordered: []}"], "offerings takes one of ordered and anyOf"),
        (["offerings: {ordered: [{provider: shop-a}], anyOf: [{provider: shop-a}]}"], "takes one of ordered and anyOf"),
        (
            ["provider: shop-a", "offerings: {anyOf: [{provider: shop-a}]}"],
            "offerings and providers exclude each other",
        ),
        (["offerings: {anyOf: [{accelerator: H100}]}"], "spec.offerings.anyOf[0].providers: is required"),
        (
            ["offerings: {anyOf: [{provider: shop-a, region: x}]}"],
            "spec.offerings.anyOf[0].region: there is no field 'region'; known: accelerator,",
        ),
        (
            ["offerings: {anyOf: [{provider: nobody}]}"],
            "spec.offerings.anyOf[0].provider: there is no provider 'nobody'",
        ),
        (
            ["offerings: {anyOf: [{provider: [x]}]}"],
            "spec.offerings.anyOf[0].provider: must be the name of one provider",
        ),
        (
            ["providers: [{name: local, regoin: x}]"],
            "spec.providers[0].regoin: there is no field 'regoin'; did you mean 'region'?",
        ),
        (
            ["offerings:", "  anyOf:", "  - providers: [{name: local, options: {fault: 1}}]"],
            "spec.offerings.anyOf[0].providers[0].options.fault: there is no field 'fault'; did you mean 'faults'?",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_names_the_field(lines: list[str], expected: str) -> None:
    found = problems(*lines)

    assert len(found) == 1, found
    assert expected in found[0]


@pytest.mark.parametrize(
    "line",
    [
        "accelerator: H100",
        "instanceType: x",
        "requirements: [{key: cpu, operator: Gt, values: [2]}]",
        "allocation: on-demand",
        "maxHourlyCost: 3",
        "resources: {cpu: 2}",
        "resources: {disk: 5GB}",
    ],
)
def test_the_local_provider_refuses_by_name_what_it_could_not_choose(line: str) -> None:
    name = line.partition(":")[0]

    assert f"spec.{name}" in problems("provider: local", line)[0]
    assert "is refused on the local provider" in problems("provider: local", line)[0]
    beside = problems("offerings: {ordered: [{provider: shop-a}, {provider: local}]}", line)
    assert "is refused on the local provider" in beside[0]


def test_the_local_provider_may_be_the_last_resort_of_others() -> None:
    good = spec(offerings={"ordered": [{"provider": "shop-a", "accelerator": "H100"}, {"provider": "local"}]})

    assert [place.name for place in good.places] == ["shop-a", "local"]
    assert [entry["name"] for entry in places_of(good.template())] == ["shop-a", "local"]


def test_a_driver_is_given_its_options_and_the_place() -> None:
    entry = {"name": "shop-a", "region": "eu", "zone": "eu-1", "weight": 3, "options": {"x": 1}}
    placed = PoolSpec.model_validate({"nodes": 1, "providers": [entry]})

    assert driver_options(placed.template()["providers"][0]) == {"x": 1, "region": "eu", "zone": "eu-1"}


def test_an_object_as_the_api_shows_it_is_accepted_back() -> None:
    shown = spec(offerings={"anyOf": [{"provider": "shop-a"}]}, allocation="cheapest")

    assert PoolSpec.model_validate(shown.to_json()) == shown


def test_a_pool_without_a_place_is_refused() -> None:
    with pytest.raises(ValidationError, match="must name at least one"):
        PoolSpec.model_validate({"nodes": 1})
