"""Which offering a launch asks for."""

from __future__ import annotations

from skyward.api import Reason
from skyward.facts import CoolDown
from skyward.planner import Shopping, choose_offering
from tests.builders import NOW, make_market, make_offering, provider_specs


def test_takes_the_cheapest_of_all_providers() -> None:
    market = make_market(make_offering("big", "aws", 3.0), make_offering("small", "vastai", 1.0))

    choice = choose_offering(Shopping.at(provider_specs("aws", "vastai")), market, NOW)

    assert choice.offering is not None
    assert choice.offering.name == "small"


def test_weight_breaks_a_tie_in_price() -> None:
    market = make_market(make_offering("a", "aws", 1.0), make_offering("v", "vastai", 1.0))

    choice = choose_offering(Shopping.at(provider_specs("aws", "vastai", weights=[1, 5])), market, NOW)

    assert choice.offering is not None
    assert choice.offering.provider == "vastai"


def test_the_provider_named_first_breaks_a_tie_in_weight() -> None:
    market = make_market(make_offering("a", "aws", 1.0), make_offering("v", "vastai", 1.0))

    choice = choose_offering(Shopping.at(provider_specs("vastai", "aws")), market, NOW)

    assert choice.offering is not None
    assert choice.offering.provider == "vastai"


def test_other_providers_are_not_asked() -> None:
    market = make_market(make_offering("a", "aws", 1.0))

    choice = choose_offering(Shopping.at(provider_specs("vastai")), market, NOW)

    assert choice.offering is None
    assert "vastai" in choice.message


def test_skips_what_cools_down_and_takes_it_again_afterwards() -> None:
    cheap, dear = make_offering("cheap", "aws", 1.0), make_offering("dear", "aws", 2.0)
    market = make_market(cheap, dear, cool_downs=[CoolDown(cheap.id, NOW + 10, "sold out")])

    during = choose_offering(Shopping.at(provider_specs("aws")), market, NOW)
    after = choose_offering(Shopping.at(provider_specs("aws")), market, NOW + 10)

    assert during.offering == dear
    assert after.offering == cheap


def test_says_why_and_until_when_there_is_none() -> None:
    offering = make_offering("host", "aws")
    cool_down = CoolDown(offering.id, NOW + 60, "the account is out of money", Reason.BALANCE_EXHAUSTED)

    choice = choose_offering(Shopping.at(provider_specs("aws")), make_market(offering, cool_downs=[cool_down]), NOW)

    assert choice.offering is None
    assert choice.reason is Reason.BALANCE_EXHAUSTED
    assert choice.retry_at == NOW + 60
    assert "out of money" in choice.message


def test_a_refusal_of_the_account_holds_for_all_that_its_provider_offers() -> None:
    market = make_market(
        make_offering("a", "aws", 1.0),
        make_offering("v", "vastai", 2.0),
        cool_downs=[CoolDown("aws", NOW + 60, "the key expired", Reason.CREDENTIALS_REJECTED)],
    )

    choice = choose_offering(Shopping.at(provider_specs("aws", "vastai")), market, NOW)
    alone = choose_offering(Shopping.at(provider_specs("aws")), market, NOW)

    assert choice.offering is not None
    assert choice.offering.provider == "vastai"
    assert alone.reason is Reason.CREDENTIALS_REJECTED


def test_tells_the_refusal_that_may_pass_by_itself_and_looks_when_the_first_ends() -> None:
    one, two = make_offering("a", "aws", 1.0), make_offering("b", "aws", 1.0)
    sold_out = CoolDown(one.id, NOW + 60, "sold out", Reason.INSUFFICIENT_CAPACITY)
    quota = CoolDown(two.id, NOW + 30, "limit reached", Reason.QUOTA_EXCEEDED)

    choice = choose_offering(
        Shopping.at(provider_specs("aws")), make_market(one, two, cool_downs=[sold_out, quota]), NOW
    )

    assert choice.reason is Reason.INSUFFICIENT_CAPACITY
    assert choice.retry_at == NOW + 30


def test_the_order_of_offerings_carries_no_meaning() -> None:
    one, two = make_offering("a", "aws", 1.0), make_offering("b", "aws", 1.0)
    specs = Shopping.at(provider_specs("aws"))

    assert choose_offering(specs, make_market(one, two), NOW) == choose_offering(specs, make_market(two, one), NOW)
