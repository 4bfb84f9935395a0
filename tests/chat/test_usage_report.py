"""Usage and cost as clients read them."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.usage_report import render_usage, to_cost_parts, to_json_number
from pricing.cost import UNPRICED, Cost
from pricing.usage import METERS, Usage
from tests.properties import many

PARTS = ("input", "output", "cached_input", "cache_write", "request", "web_search")


def render(usage: Usage | None, cost: Cost | None, **kwargs: Any) -> dict[str, Any]:
    return json.loads(render_usage(usage, cost, **kwargs), parse_float=Decimal)


def test_every_name_carries_the_same_numbers() -> None:
    usage = Usage(
        input_tokens=100,
        cache_read_tokens=40,
        cache_write_tokens=5,
        cache_write_1h_tokens=6,
        output_tokens=20,
        reasoning_tokens=30,
        audio_output_tokens=1,
        requests=1,
    )
    lines = {
        "input_tokens": "0.0001",
        "cache_read_tokens": "0.000004",
        "cache_write_tokens": "0.000006",
        "cache_write_1h_tokens": "0.000012",
        "output_tokens": "0.0002",
        "reasoning_tokens": "0.0003",
        "audio_output_tokens": "0.00001",
        "requests": "0.005",
    }
    cost = Cost(
        total_usd=Decimal("0.005632"), lines={name: Decimal(usd) for name, usd in lines.items()}
    )

    result = render(usage, cost, details={"accepted_prediction_tokens": 2})

    assert result == {
        "prompt_tokens": 151,
        "completion_tokens": 51,
        "total_tokens": 202,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 11, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 30,
            "audio_tokens": 1,
            "accepted_prediction_tokens": 2,
        },
        "reasoning_tokens": 30,
        "cache_read_input_tokens": 40,
        "cache_creation_input_tokens": 11,
        "cost": Decimal("0.005632"),
        "is_byok": False,
        "cost_details": {
            "upstream_inference_cost": Decimal("0.005632"),
            "upstream_inference_prompt_cost": Decimal("0.000122"),
            "upstream_inference_completions_cost": Decimal("0.00051"),
        },
        "cost_usd_total": Decimal("0.005632"),
        "cost_usd_input": Decimal("0.0001"),
        "cost_usd_output": Decimal("0.00051"),
        "cost_usd_cached_input": Decimal("0.000004"),
        "cost_usd_cache_write": Decimal("0.000018"),
        "cost_usd_request": Decimal("0.005"),
        "cost_usd_web_search": 0,
        "cost_status": "exact",
    }


def test_an_unknown_cost_is_null_and_never_zero() -> None:
    result = render(Usage(input_tokens=3, requests=1), UNPRICED)

    assert [result[f"cost_usd_{part}"] for part in ("total", *PARTS)] == [None] * 7
    assert result["cost"] is None
    assert result["cost_status"] == "unpriced"
    assert result["prompt_tokens"] == 3


def test_a_free_answer_costs_zero() -> None:
    cost = Cost(total_usd=Decimal(0), lines={"input_tokens": Decimal("0.000000")})

    assert render(Usage(input_tokens=3), cost)["cost_usd_total"] == 0


def test_unknown_usage_is_null() -> None:
    assert render_usage(None, None) == b"null"
    assert render(None, Cost(total_usd=Decimal(1)))["prompt_tokens"] is None


def test_a_reported_total_that_the_lines_do_not_make_stands_alone() -> None:
    cost = Cost(
        total_usd=Decimal("0.95"),
        lines={"input_tokens": Decimal("0.5")},
        source="provider_reported",
    )

    result = render(Usage(input_tokens=1), cost)

    assert result["cost_usd_total"] == Decimal("0.95")
    assert result["cost_usd_input"] is None


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.0000001", "0.0000001"),
        ("1E-12", "0.000000000001"),
        ("1E+3", "1000"),
        ("0E-12", "0"),
        ("0.005615000000", "0.005615"),
        ("10.00", "10"),
        ("100", "100"),
        ("0.1234567890125", "0.123456789012"),
    ],
)
def test_amounts_are_plain_numbers(amount: str, text: str) -> None:
    assert to_json_number(Decimal(amount)) == text


def test_no_amount_is_null() -> None:
    assert to_json_number(None) == "null"


@given(
    lines=st.dictionaries(
        st.sampled_from(METERS),
        st.decimals(min_value=0, max_value=1000, places=12, allow_nan=False),
        min_size=1,
    )
)
@settings(max_examples=many(150))
def test_the_parts_add_up_to_the_total(lines: dict[str, Decimal]) -> None:
    cost = Cost(total_usd=sum(lines.values(), Decimal(0)), lines=lines)

    result = render(Usage(), cost)

    assert sum(Decimal(result[f"cost_usd_{part}"]) for part in PARTS) == result["cost_usd_total"]
    assert result["cost"] == result["cost_usd_total"] == cost.total_usd
    assert b"E" not in render_usage(Usage(), cost).replace(b"estimated", b"")


def test_every_meter_belongs_to_a_part() -> None:
    for meter in METERS:
        parts = to_cost_parts(Cost(total_usd=Decimal(1), lines={meter: Decimal(1)}))
        amounts = [getattr(parts, f"{part}_usd") for part in PARTS]
        assert sorted(amounts) == [0, 0, 0, 0, 0, 1]
