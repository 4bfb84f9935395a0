"""Cost is exact, adds up line by line, and never takes the unknown for free."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.cost import (
    UNPRICED,
    Cost,
    CostTable,
    add_costs,
    compute_cost,
    expected_cost_usd,
    group_lines,
    sum_known,
)
from pricing.price import RATES, Price
from pricing.usage import METERS, Usage
from tests.properties import many

BOTH = Price(version="v", input_usd_per_mtok=Decimal(4), output_usd_per_mtok=Decimal(8))

amounts = st.decimals(min_value=0, max_value=1000, places=12, allow_nan=False, allow_infinity=False)
prices = st.builds(Price, version=st.just("v"), **dict.fromkeys(RATES, amounts))
counts = st.integers(min_value=0, max_value=10_000_000)
usages = st.builds(Usage, **dict.fromkeys(METERS, counts))


@given(usages, prices)
@settings(max_examples=many(150))
def test_lines_add_up_exactly_to_a_total_of_twelve_decimals(usage: Usage, price: Price) -> None:
    cost = compute_cost(usage, price)

    assert cost.total_usd == sum(cost.lines.values(), start=Decimal(0))
    assert cost.lines.keys() == {meter for meter in METERS if getattr(usage, meter)}
    for amount in (cost.total_usd or Decimal(0), *cost.lines.values()):
        exponent = amount.as_tuple().exponent
        assert isinstance(exponent, int)
        assert exponent >= -12


@given(usages, prices)
@settings(max_examples=many(100))
def test_the_total_is_the_exact_sum_rounded_once(usage: Usage, price: Price) -> None:
    fees = {"requests": "request_usd", "web_searches": "web_search_usd", "images": "image_usd"}
    # In units of 1e-18 USD everything is a whole number, so integers are the independent witness.
    exact = sum(
        getattr(usage, meter) * int(getattr(price, fees[meter]) * 10**12) * 10**6
        if meter in fees
        else getattr(usage, meter)
        * int(getattr(price, meter.removesuffix("_tokens") + "_usd_per_mtok") * 10**12)
        for meter in METERS
    )

    total = compute_cost(usage, price).total_usd

    assert total is not None
    assert abs(int(total * 10**18) - exact) <= 5 * 10**5


@given(usages, prices, st.sampled_from(METERS), counts)
@settings(max_examples=many(100))
def test_using_more_never_costs_less(usage: Usage, price: Price, meter: str, more: int) -> None:
    less = compute_cost(usage, price).total_usd

    total = compute_cost(usage + Usage(**{meter: more}), price).total_usd

    assert less is not None
    assert total is not None
    assert total >= less


@pytest.mark.parametrize(
    ("usage", "price", "total", "status"),
    [
        pytest.param(
            Usage(cache_read_tokens=10**6), BOTH, "4", "upper_bound", id="cache read at input"
        ),
        pytest.param(
            Usage(cache_write_tokens=10**6), BOTH, "4", "estimated", id="cache write at input"
        ),
        pytest.param(
            Usage(cache_write_1h_tokens=10**6),
            Price(version="v", cache_write_usd_per_mtok=Decimal(5)),
            "5",
            "estimated",
            id="an hour's write at the five minutes' rate",
        ),
        pytest.param(Usage(reasoning_tokens=10**6), BOTH, "8", "exact", id="reasoning is output"),
        pytest.param(
            Usage(image_input_tokens=10**6), BOTH, "4", "exact", id="an image is input tokens"
        ),
        pytest.param(Usage(audio_input_tokens=10**6), BOTH, "4", "estimated", id="audio at input"),
        pytest.param(
            Usage(audio_output_tokens=10**6), BOTH, "8", "estimated", id="audio at output"
        ),
        pytest.param(
            Usage(audio_cache_read_tokens=10**6),
            Price(
                version="v",
                input_usd_per_mtok=Decimal(4),
                cache_read_usd_per_mtok=Decimal(1),
                audio_input_usd_per_mtok=Decimal(9),
            ),
            "9",
            "upper_bound",
            id="cached audio at the audio rate",
        ),
        pytest.param(
            Usage(audio_cache_read_tokens=10**6),
            Price(
                version="v",
                input_usd_per_mtok=Decimal(4),
                cache_read_usd_per_mtok=Decimal(1),
            ),
            "1",
            "upper_bound",
            id="cached audio at the cached rate",
        ),
        pytest.param(
            Usage(citation_tokens=10**6), BOTH, "4", "upper_bound", id="citations at input"
        ),
        pytest.param(Usage(requests=1), BOTH, "0", "exact", id="no fee per request"),
    ],
)
def test_a_missing_rate_is_taken_from_its_parent_and_the_status_says_so(
    usage: Usage, price: Price, total: str, status: str
) -> None:
    cost = compute_cost(usage, price)

    assert (cost.total_usd, cost.status) == (Decimal(total), status)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        pytest.param(Usage(input_tokens=1), None, id="no price"),
        pytest.param(Usage(input_tokens=1), Price(version="v"), id="no rate"),
        pytest.param(Usage(web_searches=1), BOTH, id="searches"),
        pytest.param(Usage(images=1), BOTH, id="images"),
        pytest.param(
            Usage(input_tokens=5, reasoning_tokens=1),
            Price(version="v", input_usd_per_mtok=Decimal(1)),
            id="a parent that is missing too",
        ),
    ],
)
def test_a_used_meter_without_any_rate_makes_the_cost_unknown_and_never_zero(
    usage: Usage, price: Price | None
) -> None:
    cost = compute_cost(usage, price)

    assert (cost.total_usd, cost.lines, cost.status) == (None, {}, "unpriced")


def test_an_empty_usage_costs_nothing() -> None:
    cost = compute_cost(Usage(requests=1), BOTH)

    assert (cost.total_usd, cost.lines) == (0, {})


def test_a_guess_of_the_usage_makes_an_estimate() -> None:
    assert compute_cost(Usage(input_tokens=1), BOTH, is_estimated=True).status == "estimated"


def test_doubts_about_the_price_show_in_the_status() -> None:
    usage = Usage(input_tokens=1)
    rate = Decimal(1)

    at_most = Price(version="v", input_usd_per_mtok=rate, is_upper_bound=True)
    doubtful = Price(version="v", input_usd_per_mtok=rate, is_estimated=True)

    assert compute_cost(usage, at_most).status == "upper_bound"
    assert compute_cost(usage, doubtful).status == "estimated"


def test_what_the_provider_reports_beats_what_we_compute_and_both_are_kept() -> None:
    cost = compute_cost(Usage(input_tokens=10**6), BOTH, reported_usd=Decimal("3.9"))

    assert cost == Cost(
        total_usd=Decimal("3.9"),
        lines={"input_tokens": Decimal(4)},
        status="exact",
        source="provider_reported",
        computed_usd=Decimal(4),
        price_version="v",
    )


def test_a_reported_cost_needs_no_price() -> None:
    cost = compute_cost(Usage(input_tokens=1), None, reported_usd=Decimal("0.95"))

    assert (cost.total_usd, cost.computed_usd, cost.status) == (Decimal("0.95"), None, "exact")


@pytest.mark.parametrize("reported", ["-0.01", "NaN", "sNaN", "Infinity", "1e400", "1e12"])
def test_a_reported_cost_that_cannot_be_one_is_passed_over(reported: str) -> None:
    cost = compute_cost(Usage(input_tokens=10**6), BOTH, reported_usd=Decimal(reported))

    assert (cost.total_usd, cost.source, cost.status) == (Decimal(4), "computed", "exact")


def test_the_rounding_residue_goes_to_the_largest_line() -> None:
    third = Decimal("0.333333333333")
    price = Price(version="v", input_usd_per_mtok=third, output_usd_per_mtok=third)

    cost = compute_cost(Usage(input_tokens=1, output_tokens=2), price)

    assert cost.total_usd == Decimal("0.000001000000")
    assert cost.lines == {
        "input_tokens": Decimal("0.000000333333"),
        "output_tokens": Decimal("0.000000666667"),
    }


def test_costs_of_attempts_add_up_line_by_line() -> None:
    first = compute_cost(Usage(input_tokens=10**6, output_tokens=10**6), BOTH)
    second = compute_cost(Usage(cache_read_tokens=10**6, output_tokens=10**6), BOTH)

    cost = add_costs([first, second])

    assert cost == Cost(
        total_usd=Decimal(24),
        lines={
            "input_tokens": Decimal(4),
            "cache_read_tokens": Decimal(4),
            "output_tokens": Decimal(16),
        },
        status="upper_bound",
        price_version="v",
    )


def test_one_unknown_cost_makes_the_sum_unknown() -> None:
    cost = add_costs([compute_cost(Usage(input_tokens=1), BOTH), UNPRICED])

    assert (cost.total_usd, cost.status) == (None, "unpriced")


def test_no_costs_add_up_to_zero() -> None:
    assert add_costs([]).total_usd == 0


@given(counts, counts, counts, prices)
@settings(max_examples=many(100))
def test_an_expected_cost_agrees_with_the_cost_of_the_same_usage(
    uncached: int, cached: int, output: int, price: Price
) -> None:
    usage = Usage(input_tokens=uncached, cache_read_tokens=cached, output_tokens=output, requests=1)

    expected = expected_cost_usd(
        price, prompt_tokens=uncached + cached, output_tokens=output, cached_tokens=cached
    )

    total = compute_cost(usage, price).total_usd
    assert expected is not None
    assert total is not None
    assert abs(expected - total) <= Decimal("0.0000000000005")


@given(st.lists(prices | st.none(), max_size=4), counts, counts)
@settings(max_examples=many(100))
def test_a_table_of_costs_agrees_with_asking_each_price(
    asked: list[Price | None], prompt: int, output: int
) -> None:
    table = CostTable(asked)

    # Twice, since the second time something is known.
    for _ in range(2):
        assert table.expected_usd(prompt_tokens=prompt, output_tokens=output) == [
            expected_cost_usd(price, prompt_tokens=prompt, output_tokens=output) for price in asked
        ]


@pytest.mark.parametrize(
    ("price", "extra"),
    [
        pytest.param(None, {}, id="no price"),
        pytest.param(Price(version="v"), {}, id="no rate"),
        pytest.param(BOTH, {"images": 1}, id="images without a price"),
        pytest.param(BOTH, {"web_searches": 1}, id="searches without a price"),
    ],
)
def test_an_expected_cost_is_unknown_when_a_needed_rate_is(
    price: Price | None, extra: dict[str, int]
) -> None:
    assert expected_cost_usd(price, prompt_tokens=1, output_tokens=1, **extra) is None


def test_lines_are_added_up_by_group_only_where_they_make_the_total() -> None:
    lines = {"input_tokens": Decimal("0.1"), "output_tokens": Decimal("0.2")}
    lines |= {"reasoning_tokens": Decimal("0.3"), "novelties": Decimal("0.4")}
    groups = {"input_tokens": "in", "output_tokens": "out", "reasoning_tokens": "out", "x": "more"}

    grouped = group_lines(Cost(total_usd=Decimal("1.0"), lines=lines), groups, otherwise="in")

    assert grouped == {"in": Decimal("0.5"), "out": Decimal("0.5"), "more": Decimal(0)}
    assert group_lines(Cost(total_usd=Decimal(2), lines=lines), groups, otherwise="in") == {}


def test_a_sum_with_an_unknown_amount_is_unknown() -> None:
    assert sum_known(Decimal("0.1"), Decimal(0), Decimal("0.20")) == Decimal("0.3")
    assert sum_known(Decimal("0.1"), None) is None
    assert sum_known() == 0
