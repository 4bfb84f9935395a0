"""Prices that are allowed and look wrong: each rule, with what it says and what it leaves alone."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pricing.catalogue import Catalogue
from pricing.warnings import far_from_others, unpriced, warn_of
from tests.pricing.conftest import MakeEndpoint

AT = datetime(2026, 11, 21, tzinfo=UTC)


def rules(make_endpoint: MakeEndpoint, **keys: Any) -> list[str]:
    price: dict[str, Any] = {
        "input_usd_per_mtok": Decimal(1),
        "output_usd_per_mtok": Decimal(2),
        "source": "https://acme.example/prices",
        "checked": date(2026, 11, 1),
    }
    asked = {"prices": [price | keys.pop("price", {})], **keys}
    return [warning.rule for warning in warn_of(make_endpoint(**asked), AT)]


def test_an_ordinary_price_is_left_alone(make_endpoint: MakeEndpoint) -> None:
    assert rules(make_endpoint) == []


@pytest.mark.parametrize(
    ("price", "rule"),
    [
        ({"output_usd_per_mtok": Decimal("0.9")}, "output-below-input"),
        ({"output_usd_per_mtok": Decimal("20.1")}, "output-far-above-input"),
        ({"checked": date(2026, 9, 21)}, "stale"),
        ({"source": None}, "no-origin"),
    ],
)
def test_what_looks_wrong_is_told_by_its_rule(
    make_endpoint: MakeEndpoint, price: dict[str, Any], rule: str
) -> None:
    kept = {name: value for name, value in price.items() if value is not None}
    if "source" in price:
        prices = [
            {
                "input_usd_per_mtok": Decimal(1),
                "output_usd_per_mtok": Decimal(2),
                "checked": date(2026, 11, 1),
            }
        ]
        assert rules(make_endpoint, prices=prices) == [rule]
    else:
        assert rules(make_endpoint, price=kept) == [rule]


@pytest.mark.parametrize(
    "price",
    [
        {"output_usd_per_mtok": Decimal(1)},
        {"output_usd_per_mtok": Decimal(20)},
        {"cache_read_usd_per_mtok": Decimal(1)},
        {"cache_write_usd_per_mtok": Decimal(0)},
        {"checked": date(2026, 9, 22)},
        {"output_usd_per_mtok": Decimal("0.9"), "reviewed": ["output-below-input"]},
        {"output_usd_per_mtok": Decimal(21), "reviewed": ["output-far-above-input"]},
    ],
)
def test_the_bounds_themselves_are_allowed(
    make_endpoint: MakeEndpoint, price: dict[str, Any]
) -> None:
    assert rules(make_endpoint, price=price) == []


def test_prices_of_the_past_are_left_alone(make_endpoint: MakeEndpoint) -> None:
    ended = datetime(2026, 11, 21, tzinfo=UTC)

    assert rules(make_endpoint, price={"output_usd_per_mtok": Decimal("0.1"), "to": ended}) == []


def test_endpoints_without_a_price_are_found(make_endpoint: MakeEndpoint) -> None:
    bare = make_endpoint(id="bare", prices=[])
    others = [
        make_endpoint(),
        make_endpoint(id="drawing", mode="image_generation", prices=[]),
        make_endpoint(id="gone", prices=[], retired_at=datetime(2026, 1, 1, tzinfo=UTC)),
    ]

    assert unpriced([bare, *others], AT) == [bare]


def test_an_offer_far_off_the_others_of_its_model_may_be_a_slip_of_the_unit(
    make_endpoint: MakeEndpoint,
) -> None:
    others = [make_endpoint(id=f"m{number}") for number in (1, 2)]
    cents = {"input_usd_per_mtok": Decimal(100), "output_usd_per_mtok": Decimal(200)}

    (found,) = far_from_others([*others, make_endpoint(id="m3", **cents)], AT)

    assert (found.endpoint, found.key, found.value) == ("acme/m3", "input_usd_per_mtok", 100)
    assert far_from_others(others, AT) == []


def test_every_shipped_price_says_where_it_stands(shipped: Catalogue) -> None:
    found = [
        warning
        for endpoint in shipped.endpoints_by_id.values()
        for warning in warn_of(endpoint, AT)
        if warning.rule == "no-origin"
    ]

    assert found == []
