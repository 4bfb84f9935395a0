"""Amounts in JSON never have an exponent, and nothing else changes."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.plain_json import encode_with_numbers, encode_with_texts, plain
from tests.properties import many


class Spent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Whatever an answer may hold."""

    id: UUID
    total_usd: Decimal
    lines: tuple[Decimal | None, ...] = ()
    by_day: dict[int, Decimal] = {}
    at: datetime | None = None
    raw: msgspec.Raw = msgspec.Raw(b"")
    left_out: int | msgspec.UnsetType = msgspec.UNSET


SPENT = Spent(
    id=UUID(int=1),
    total_usd=Decimal("0E-9"),
    lines=(Decimal("1.0E-7"), None, Decimal("2.50")),
    by_day={3: Decimal("1E+3")},
    at=datetime(2026, 11, 21, tzinfo=UTC),
    raw=msgspec.Raw(b"1.10"),
)


def test_amounts_are_numbers_with_all_their_digits() -> None:
    assert encode_with_numbers({"all": [SPENT]}).decode() == (
        '{"all":[{"id":"00000000-0000-0000-0000-000000000001","totalUsd":0,'
        '"lines":[0.0000001,null,2.50],"byDay":{"3":1000},"at":"2026-11-21T00:00:00Z","raw":1.10}]}'
    )


def test_amounts_are_texts_with_all_their_digits() -> None:
    assert encode_with_texts(SPENT).decode() == (
        '{"id":"00000000-0000-0000-0000-000000000001","totalUsd":"0",'
        '"lines":["0.0000001",null,"2.50"],"byDay":{"3":"1000"},'
        '"at":"2026-11-21T00:00:00Z","raw":1.10}'
    )


def test_other_values_are_written_by_the_hook() -> None:
    value: dict[str, Any] = {"where": PurePath("/a"), "usd": Decimal("0E-9")}

    assert encode_with_texts(value, str) == b'{"where":"/a","usd":"0"}'


@pytest.mark.parametrize("text", ["1E5", "gpt-4E-9", "0E-9"])
def test_texts_that_look_like_amounts_stay(text: str) -> None:
    assert msgspec.json.decode(encode_with_numbers([text, Decimal("1E-9")])) == [text, 1e-9]


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15))
@settings(max_examples=many(100))
def test_every_amount_is_plain_and_exact(amount: Decimal) -> None:
    (text,) = msgspec.json.decode(encode_with_texts([amount]), type=tuple[str])

    assert Decimal(text) == amount == Decimal(plain(amount))
    assert "E" not in text
    assert encode_with_numbers(amount) == text.encode()
