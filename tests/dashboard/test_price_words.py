from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from dashboard import price_words
from dashboard.admin_answers import OfferedEndpoint
from pricing.operator_layer import PriceChange
from pricing.price import Price

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def offer(price: Price | None, **more: Any) -> OfferedEndpoint:
    given: dict[str, Any] = {
        "endpoint": "openai/gpt-5",
        "provider": "openai",
        "model": "openai/gpt-5",
        "mode": "chat",
        "layers": ("tables",),
        "has_conditions": False,
        "next_from": None,
        "source": None,
        "checked_on": None,
        "is_disabled": False,
        "retired_at": None,
    }
    return OfferedEndpoint(price=price, **(given | more))


def price(amount: str | None) -> Price:
    return Price(version="x", input_usd_per_mtok=None if amount is None else Decimal(amount))


def change(number: int, **more: Any) -> PriceChange:
    given: dict[str, Any] = {
        "kind": "disable",
        "target": "openai/gpt-5",
        "effective_from": NOW - DAY,
        "recorded_at": NOW - DAY + timedelta(seconds=number),
        "recorded_by": "owner",
        "reason": "x",
    }
    return PriceChange(id=str(number), **(given | more))


def test_prices_as_texts_stand_in_the_order_of_their_amounts() -> None:
    amounts = ["0.05", "0.375", "2", "10.5", "1250"]

    frame = price_words.catalogue_frame([offer(price(one)) for one in reversed(amounts)], "UTC")

    texts = [one.strip() for one in sorted(frame["Input"])]
    assert texts == ["$0.05", "$0.375", "$2.00", "$10.50", "$1,250.00"]


def test_an_unknown_price_is_marked_and_never_0() -> None:
    frame = price_words.catalogue_frame(
        [offer(None), offer(price(None)), offer(price("0"), is_disabled=True)], "UTC"
    )

    assert frame["Input"][0] is None
    assert frame["Input"][1] is None
    assert frame["Input"][2].strip() == "$0.00"
    assert frame["From"].to_list() == [
        ["tables", "no price"],
        ["tables", "no price"],
        ["tables", "off"],
    ]


def test_an_empty_catalogue_has_its_columns() -> None:
    frame = price_words.catalogue_frame([], "UTC")

    assert frame.is_empty()
    assert "Endpoint" in frame.columns


def test_every_meter_is_compared_before_and_after() -> None:
    before = Price(version="a", input_usd_per_mtok=Decimal(2), request_usd=Decimal("0.01"))
    after = Price(version="b", input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(4))

    rows = [[cell.text for cell in row.cells] for row in price_words.price_rows(before, after)]

    assert rows[0][:3] == ["input", "$2.00", "$1.00"]
    assert rows[0][3].startswith("\N{MINUS SIGN}50.0")
    assert rows[1] == ["output", "—", "$4.00", "now known"]
    assert rows[2] == ["per request", "$0.01 each", "—", "changed"]


def test_what_was_revoked_stands_no_more_and_what_begins_later_is_to_come() -> None:
    changes = [
        change(1),
        change(2, effective_to=NOW),
        change(3, effective_from=NOW + DAY),
        change(4),
        change(5, kind="revoke", target="4", effective_from=NOW - DAY),
    ]

    assert price_words.standing(changes, NOW) == {"1": "stands", "2": "ended", "3": "to come"}


def test_conditions_and_rare_meters_are_told() -> None:
    terms = {
        "input_usd_per_mtok": "1",
        "audio_input_usd_per_mtok": "40",
        "size_tiers": [{"min_prompt_tokens": 200_000}],
    }

    note = price_words.terms_note(terms)

    assert note == "audio input $40.00, another price for long prompts"
