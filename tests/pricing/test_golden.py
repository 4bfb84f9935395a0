"""Worked examples of what usage costs, computed by hand from published prices."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pricing.catalogue import Catalogue
from pricing.cost import compute_cost
from pricing.price import Price, resolve
from pricing.usage import Usage

EXAMPLES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("data").joinpath("golden_costs.json").read_text()
)
PRICED = [example for example in EXAMPLES if example["endpoint"] is not None]
# The two others have nothing to look up: an endpoint that nobody knows, and a reported figure.
UNPRICED = {"29-unknown-price", "30-openrouter-reported"}


def _id(example: dict[str, Any]) -> str:
    return example["id"]


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@pytest.mark.parametrize("example", EXAMPLES, ids=_id)
def test_a_golden_example_costs_exactly_what_was_worked_out_by_hand(
    example: dict[str, Any],
) -> None:
    rates: dict[str, str] | None = example["rates_usd"]
    price = msgspec.convert({"version": "example", **rates}, Price) if rates else None

    cost = compute_cost(
        Usage(**example["usage"]), price, reported_usd=_money(example["reported_usd"])
    )

    assert cost.total_usd == _money(example["total_usd"])
    assert cost.lines == {meter: Decimal(usd) for meter, usd in example["lines_usd"].items()}


def test_there_are_twenty_golden_examples_and_eighteen_of_them_can_be_looked_up() -> None:
    assert len(EXAMPLES) == 20
    assert {example["id"] for example in EXAMPLES if example not in PRICED} == UNPRICED


@pytest.mark.parametrize("example", PRICED, ids=_id)
def test_the_shipped_tables_price_a_golden_example(
    example: dict[str, Any], shipped: Catalogue
) -> None:
    usage = Usage(**example["usage"])

    price = resolve(
        shipped.endpoints_by_id[example["endpoint"]],
        at=datetime.fromisoformat(example["at"]),
        prompt_tokens=usage.prompt_tokens,
        service_tier=example["service_tier"],
    )

    assert compute_cost(usage, price).total_usd == _money(example["total_usd"])
