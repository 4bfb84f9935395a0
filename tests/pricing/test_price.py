"""One resolver says which price holds: when, for which size, service tier and region."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.catalogue import Endpoint, endpoint_from_config
from pricing.price import Price, dearest_region, resolve
from tests.properties import many

MakeEndpoint = Callable[..., Endpoint]

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)
SWITCH = datetime(2026, 8, 16, 16, tzinfo=UTC)


def _rates(begin: int, **more: Any) -> dict[str, Any]:
    return {
        "input_usd_per_mtok": Decimal(begin),
        "output_usd_per_mtok": Decimal(begin * 2),
        **more,
    }


def _price(
    endpoint: Endpoint,
    *,
    at: datetime = NOON,
    prompt_tokens: int = 100,
    service_tier: str | None = None,
    region: str | None = None,
) -> Price:
    price = resolve(
        endpoint, at=at, prompt_tokens=prompt_tokens, service_tier=service_tier, region=region
    )
    assert price is not None
    return price


def _input(endpoint: Endpoint, **conditions: Any) -> Decimal | None:
    return _price(endpoint, **conditions).input_usd_per_mtok


def test_a_price_changes_at_the_very_instant_of_its_version(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(prices=[_rates(1, to=SWITCH), _rates(3, **{"from": SWITCH})])
    just_before = SWITCH - timedelta(microseconds=1)

    assert _input(endpoint, at=just_before) == 1
    assert _input(endpoint, at=SWITCH) == 3
    assert _input(endpoint, at=SWITCH.astimezone(timezone(timedelta(hours=-8)))) == 3


def test_there_is_no_price_outside_all_versions(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(prices=[_rates(1, **{"from": SWITCH, "to": NOON})])

    assert resolve(endpoint, at=SWITCH - timedelta(seconds=1), prompt_tokens=1) is None
    assert resolve(endpoint, at=NOON, prompt_tokens=1) is None
    assert resolve(make_endpoint(prices=[]), at=NOON, prompt_tokens=1) is None


def test_each_version_has_its_own_stable_name(make_endpoint: MakeEndpoint) -> None:
    prices = [_rates(1, to=SWITCH), _rates(3, **{"from": SWITCH})]
    first, second = make_endpoint(prices=prices).prices
    again = make_endpoint(prices=prices).prices
    other = make_endpoint(prices=[prices[0], _rates(4, **{"from": SWITCH})]).prices

    assert first.id.startswith("acme/m1@ever#")
    assert second.id.startswith("acme/m1@2026-08-16T16:00:00Z#")
    assert (first.id, second.id) == (again[0].id, again[1].id)
    assert other[1].id != second.id
    assert second.base.version == second.id


@given(st.integers(min_value=2, max_value=2_000_000))
@settings(max_examples=many(50))
def test_a_size_tier_begins_exactly_at_its_smallest_prompt(size: int) -> None:
    endpoint = endpoint_from_config(
        "acme",
        {"id": "m", **_rates(1, size_tiers=[{"min_prompt_tokens": size, **_rates(5)}])},
    )

    assert _input(endpoint, prompt_tokens=size - 1) == 1
    assert _input(endpoint, prompt_tokens=size) == 5
    assert _price(endpoint, prompt_tokens=size).output_usd_per_mtok == 10


def test_the_largest_tier_that_a_prompt_reaches_holds(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(
        size_tiers=[
            {"min_prompt_tokens": 100, "scale": Decimal(2)},
            {"min_prompt_tokens": 200, "scale": Decimal(3)},
        ]
    )

    assert [_input(endpoint, prompt_tokens=n) for n in (99, 100, 199, 200, 10**9)] == [
        1, 2, 2, 3, 3,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        pytest.param("2026-11-17T00:59:59.999999Z", "0.5", id="last instant of a window"),
        pytest.param("2026-11-17T01:00:00Z", "1", id="a window ends before its end"),
        pytest.param("2026-11-17T04:00:00Z", "0.5", id="a window begins at its begin"),
        pytest.param("2026-11-20T23:59:59Z", "0.5", id="up to midnight of Friday"),
        pytest.param("2026-11-21T02:00:00Z", "0.5", id="all Saturday"),
        pytest.param("2026-11-22T23:59:59Z", "0.5", id="all Sunday"),
        pytest.param("2026-11-23T02:00:00Z", "1", id="Monday's peak"),
        pytest.param("2026-11-23T10:30:00+08:00", "1", id="02:30 in UTC, said elsewhere"),
    ],
)
def test_a_window_is_half_open_and_knows_the_weekday(
    make_endpoint: MakeEndpoint, at: str, rate: str
) -> None:
    half = Decimal("0.5")
    endpoint = make_endpoint(
        windows=[
            {"utc": ["00:00-01:00", "04:00-24:00"], "days": [1, 2, 3, 4, 5], "scale": half},
            {"days": [6, 7], "scale": half},
        ]
    )

    assert _input(endpoint, at=datetime.fromisoformat(at)) == Decimal(rate)


def test_the_first_matching_window_wins_and_unnamed_rates_are_inherited(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint(
        windows=[
            {"utc": ["12:00-13:00"], "input_usd_per_mtok": Decimal("0.3")},
            {"scale": Decimal("0.5")},
        ]
    )

    assert _input(endpoint) == Decimal("0.3")
    assert _price(endpoint).output_usd_per_mtok == 2
    assert _input(endpoint, at=NOON + timedelta(hours=1)) == Decimal("0.5")


def test_a_service_tier_inherits_what_it_does_not_name(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(
        cache_read_usd_per_mtok=Decimal("0.1"),
        service_tiers={"batch": {"input_usd_per_mtok": Decimal("0.5")}},
    )

    price = _price(endpoint, service_tier="batch")

    assert price.input_usd_per_mtok == Decimal("0.5")
    assert price.output_usd_per_mtok == 2
    assert price.cache_read_usd_per_mtok == Decimal("0.1")
    assert not price.is_upper_bound


def test_a_scaled_service_tier_leaves_fees_and_exceptions_alone(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint(
        web_search_usd=Decimal("0.01"),
        audio_input_usd_per_mtok=Decimal(7),
        service_tiers={
            "batch": {"scale": Decimal("0.5"), "unscaled": ["audio_input_usd_per_mtok"]}
        },
        size_tiers=[{"min_prompt_tokens": 1000, "scale": Decimal(4)}],
    )

    price = _price(endpoint, service_tier="batch", prompt_tokens=1000)

    assert price.input_usd_per_mtok == 2
    assert price.audio_input_usd_per_mtok == 28
    assert price.web_search_usd == Decimal("0.01")


@pytest.mark.parametrize("tier", [None, "default", "standard", "auto", "on_demand"])
def test_the_standard_service_tier_has_many_names(
    make_endpoint: MakeEndpoint, tier: str | None
) -> None:
    plain = make_endpoint()
    tiered = make_endpoint(service_tiers={"batch": {"scale": Decimal("0.5")}})

    assert _price(plain, service_tier=tier) is plain.prices[0].base
    assert _price(tiered, service_tier=tier) == tiered.prices[0].base


def test_a_service_tier_without_a_price_falls_back_to_the_standard_one_and_says_so(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint()

    cheaper = _price(endpoint, service_tier="batch")
    dearer = _price(endpoint, service_tier="priority")

    assert (cheaper.input_usd_per_mtok, cheaper.is_upper_bound) == (1, True)
    assert (dearer.input_usd_per_mtok, dearer.is_estimated) == (1, True)


def test_a_service_tier_has_size_tiers_of_its_own(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(
        size_tiers=[{"min_prompt_tokens": 1000, **_rates(10)}],
        service_tiers={
            "flex": _rates(3, size_tiers=[{"min_prompt_tokens": 1000, **_rates(6)}]),
            "batch": {"input_usd_per_mtok": Decimal("0.5")},
            "priority": _rates(5),
        },
    )

    long_flex = _price(endpoint, service_tier="flex", prompt_tokens=1000)
    long_batch = _price(endpoint, service_tier="batch", prompt_tokens=1000)
    long_priority = _price(endpoint, service_tier="priority", prompt_tokens=1000)

    assert _input(endpoint, service_tier="flex") == 3
    assert (long_flex.input_usd_per_mtok, long_flex.output_usd_per_mtok) == (6, 12)
    assert (long_batch.input_usd_per_mtok, long_batch.is_upper_bound) == (10, True)
    assert (long_priority.input_usd_per_mtok, long_priority.is_estimated) == (10, True)


def test_a_region_multiplies_token_rates_and_an_unknown_region_changes_nothing(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint(request_usd=Decimal("0.005"), region_multiplier={"us": Decimal("1.1")})

    assert _input(endpoint, region="us") == Decimal("1.1")
    assert _price(endpoint, region="us").request_usd == Decimal("0.005")
    assert _input(endpoint, region="eu") == 1
    assert _input(endpoint) == 1


def test_what_is_remembered_of_a_version_stays_bounded(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(
        region_multiplier={"us": Decimal("1.1")},
        service_tiers={"batch": {"scale": Decimal("0.5")}},
    )

    for number in range(200):
        _price(endpoint, service_tier=f"tier {number}", region=f"region {number}")

    assert len(endpoint.prices[0].resolved) <= 2


def test_a_resolved_price_is_the_same_object_every_time(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(service_tiers={"batch": {"scale": Decimal("0.5")}})

    assert _price(endpoint, service_tier="batch") is _price(endpoint, service_tier="batch")


def test_fast_is_the_newer_word_for_priority_unless_it_has_a_price_of_its_own(
    make_endpoint: MakeEndpoint,
) -> None:
    priority = {"priority": {"scale": Decimal("1.75")}}
    renamed = make_endpoint(service_tiers=priority)
    both = make_endpoint(service_tiers={**priority, "fast": {"scale": Decimal(2)}})

    assert _price(renamed, service_tier="fast") is _price(renamed, service_tier="priority")
    assert not _price(renamed, service_tier="fast").is_estimated
    fast, standard = _input(both, service_tier="fast"), _input(both)
    assert standard is not None
    assert fast == 2 * standard
    assert _price(make_endpoint(), service_tier="fast").is_estimated


def test_the_dearest_region_is_one_that_costs_more_than_the_list_price(
    make_endpoint: MakeEndpoint,
) -> None:
    factors = {"us": Decimal("1.1"), "eu": Decimal("1.2"), "far": Decimal("0.9")}

    assert dearest_region(make_endpoint(region_multiplier=factors), NOON) == "eu"
    assert dearest_region(make_endpoint(region_multiplier={"far": Decimal("0.9")}), NOON) is None
    assert dearest_region(make_endpoint(), NOON) is None
