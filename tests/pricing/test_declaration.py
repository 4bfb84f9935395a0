"""A wrong declaration is refused with the endpoint, the key, the value and the remedy."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from pricing.catalogue import CatalogueError, Endpoint, endpoint_from_config

MakeEndpoint = Callable[..., Endpoint]
ONE = Decimal(1)
CHAT = {"input_usd_per_mtok": ONE, "output_usd_per_mtok": ONE}


def test_the_example_of_an_operators_endpoint_is_read_whole() -> None:
    endpoint = endpoint_from_config(
        "mock",
        {
            "model": "mock/fast",
            "id": "fast",
            "context_tokens": 128_000,
            "max_output_tokens": 16_384,
            "input_usd_per_mtok": Decimal("0.15"),
            "output_usd_per_mtok": Decimal("0.60"),
            "cache_read_usd_per_mtok": Decimal("0.075"),
            "capabilities": {"tools": True, "vision": False},
            "modalities_in": ["text", "image"],
        },
    )

    base = endpoint.prices[0].base
    assert (endpoint.id, endpoint.model, endpoint.provider) == ("mock/fast", "mock/fast", "mock")
    assert (endpoint.context_tokens, endpoint.max_output_tokens) == (128_000, 16_384)
    assert endpoint.capabilities == {"tools": True, "vision": False}
    assert endpoint.modalities_in == ("text", "image")
    assert base.input_usd_per_mtok == Decimal("0.15")
    assert base.cache_read_usd_per_mtok == Decimal("0.075")
    assert base.reasoning_usd_per_mtok is None
    assert endpoint.has_canonical_model


def test_an_endpoint_without_a_model_is_reached_by_its_own_id() -> None:
    endpoint = endpoint_from_config("mock", {"id": "deep/fast"})

    assert (endpoint.model, endpoint.has_canonical_model) == ("mock/deep/fast", False)
    assert endpoint.prices == ()


def test_whole_dollars_need_no_decimal_point(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(input_usd_per_mtok=3)

    assert endpoint.prices[0].base.input_usd_per_mtok == Decimal(3)


def test_free_must_be_said_and_is_then_a_price_of_zero(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(free=True, prices=[])

    base = endpoint.prices[0].base
    assert (base.input_usd_per_mtok, base.output_usd_per_mtok, base.is_free) == (0, 0, True)


def test_a_price_read_as_a_float_is_a_mistake_of_the_caller(make_endpoint: MakeEndpoint) -> None:
    with pytest.raises(TypeError, match=r"parse_float=Decimal"):
        make_endpoint(input_usd_per_mtok=0.15)


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        pytest.param(
            {"inputt_usd_per_mtok": ONE},
            "inputt_usd_per_mtok",
            "unknown key `inputt_usd_per_mtok`; did you mean `input_usd_per_mtok`?",
            id="unknown key",
        ),
        pytest.param(
            {"prices": [{**CHAT, "form": 1}]}, "form", "did you mean `from`?", id="deep unknown key"
        ),
        pytest.param(
            {"context_tokens": "many"}, "context_tokens", "'many'", id="a text for a number"
        ),
        pytest.param({"context_tokens": 0}, "context_tokens", "wrong: 0", id="an empty window"),
        pytest.param(
            {"capabilities": {"tools": "yes"}}, "capabilities", "expected `bool`", id="not a bool"
        ),
        pytest.param(
            {"input_usd_per_mtok": Decimal(-1)}, "input_usd_per_mtok", "0 or more", id="negative"
        ),
        pytest.param(
            {"input_usd_per_mtok": Decimal("NaN")}, "input_usd_per_mtok", "0 or more", id="NaN"
        ),
        pytest.param(
            {"input_usd_per_mtok": Decimal("0.0000000000001")},
            "input_usd_per_mtok",
            "at most 12 decimals",
            id="too many decimals",
        ),
        pytest.param(
            {"input_usd_per_mtok": Decimal(201)},
            "input_usd_per_mtok",
            "not per thousand or in cents",
            id="a slip of the unit",
        ),
        pytest.param(
            {"input_usd_per_mtok": Decimal(0)},
            "input_usd_per_mtok",
            "free = true",
            id="zero without being free",
        ),
        pytest.param(
            {"prices": [{"input_usd_per_mtok": ONE}]},
            "prices",
            "a chat price needs `output_usd_per_mtok`",
            id="half a price",
        ),
        pytest.param(
            {"context_tokens": 10, "max_output_tokens": 11},
            "max_output_tokens",
            "at most `context_tokens` (10), not 11",
            id="more output than context",
        ),
        pytest.param(
            {"size_tiers": [{"min_prompt_tokens": 9, "scale": Decimal("0.5")}]},
            "scale",
            "cheaper than the base price",
            id="a cheaper tier",
        ),
        pytest.param(
            {"size_tiers": [{"min_prompt_tokens": 9, "input_usd_per_mtok": Decimal(5)}]},
            "min_prompt_tokens",
            "has no `output_usd_per_mtok`",
            id="a tier of half the request",
        ),
        pytest.param(
            {
                "size_tiers": [
                    {"min_prompt_tokens": 9, "scale": Decimal(2)},
                    {"min_prompt_tokens": 9, "scale": Decimal(3)},
                ]
            },
            "min_prompt_tokens",
            "must rise",
            id="tiers out of order",
        ),
        pytest.param(
            {"service_tiers": {"batch": {"scale": ONE, "input_usd_per_mtok": ONE}}},
            "scale",
            "prices of its own",
            id="two ways at once",
        ),
        pytest.param(
            {"service_tiers": {"batch": {}}}, "prices", "changes nothing", id="an empty tier"
        ),
        pytest.param(
            {"service_tiers": {"batch": {"scale": ONE, "unscaled": ["web_search_usd"]}}},
            "unscaled",
            "`web_search_usd`",
            id="a fee never scales",
        ),
        pytest.param(
            {"service_tiers": {"default": {"scale": Decimal(2)}}},
            "service_tiers",
            "is the standard one",
            id="the standard service tier",
        ),
        pytest.param(
            {"region_multiplier": {"us": Decimal(0)}},
            "region_multiplier",
            "above 0",
            id="a region for nothing",
        ),
        pytest.param(
            {"windows": [{"utc": ["22:00-02:00"], "scale": ONE}]},
            "utc",
            "across midnight as two",
            id="a span across midnight",
        ),
        pytest.param(
            {"windows": [{"utc": ["25:00-26:00"], "scale": ONE}]}, "utc", "25:00", id="no such hour"
        ),
        pytest.param({"windows": [{"days": [0], "scale": ONE}]}, "days", "0", id="no such day"),
        pytest.param(
            {
                "windows": [CHAT],
                "service_tiers": {"batch": {"scale": Decimal("0.5")}},
            },
            "windows",
            "ambiguous",
            id="a window beside a service tier",
        ),
        pytest.param(
            {"prices": [{**CHAT, "from": datetime(2026, 1, 1)}]},  # noqa: DTZ001
            "from",
            "write it as 2026-01-01T00:00:00Z",
            id="no time zone",
        ),
        pytest.param(
            {
                "prices": [
                    {**CHAT, "to": datetime.fromisoformat("2026-02-02T00:00Z")},
                    {**CHAT, "from": datetime.fromisoformat("2026-02-01T00:00Z")},
                ]
            },
            "from",
            "two prices hold at the same time",
            id="overlap",
        ),
        pytest.param({"prices": [CHAT, CHAT]}, "prices", "same time", id="undated twice"),
        pytest.param(
            {
                "prices": [
                    {
                        **CHAT,
                        "from": datetime.fromisoformat("2026-02-01T00:00Z"),
                        "to": datetime.fromisoformat("2026-02-01T00:00Z"),
                    }
                ]
            },
            "to",
            "later than `from`",
            id="an empty time",
        ),
        pytest.param(
            {"prices": [CHAT], "input_usd_per_mtok": ONE},
            "prices",
            "a price of its own and dated prices",
            id="two places",
        ),
    ],
)
def test_a_wrong_declaration_names_what_is_wrong_and_the_remedy(
    make_endpoint: MakeEndpoint, keys: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(CatalogueError) as caught:
        make_endpoint(**keys)

    assert caught.value.key == key
    assert caught.value.endpoint == "m1"
    assert words in str(caught.value)
    assert str(caught.value).startswith("endpoint `m1`: ")
