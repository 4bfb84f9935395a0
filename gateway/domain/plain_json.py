"""JSON in which amounts of money are plain decimals: 0.000000001, and never 1E-9."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import msgspec

# What the encoder writes of a `Decimal` that Python shows with an exponent: its floats have a small
# e. The same in somebody's text only costs time.
_EXPONENT = re.compile(rb"[0-9]E[+-]?[0-9]")
_NUMBERS = msgspec.json.Encoder(decimal_format="number")
_TEXTS = msgspec.json.Encoder()
_AS_IT_IS = (Decimal, msgspec.Raw)


def plain(amount: Decimal) -> str:
    """All the digits of an amount, without exponent and closing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def encode_with_numbers(value: Any) -> bytes:  # noqa: ANN401 - whatever msgspec encodes
    """Amounts as JSON numbers."""
    body = _NUMBERS.encode(value)
    if _EXPONENT.search(body) is None:
        return body
    whole = msgspec.to_builtins(value, builtin_types=_AS_IT_IS, str_keys=True)
    return _NUMBERS.encode(_each_amount(whole, _number))


def encode_with_texts(
    value: Any,  # noqa: ANN401 - whatever msgspec or the hook encodes
    enc_hook: Callable[[Any], Any] | None = None,
) -> bytes:
    """Amounts as texts; ``enc_hook`` as msgspec has it."""
    body = msgspec.json.encode(value, enc_hook=enc_hook) if enc_hook else _TEXTS.encode(value)
    if _EXPONENT.search(body) is None:
        return body
    whole = msgspec.to_builtins(value, builtin_types=_AS_IT_IS, str_keys=True, enc_hook=enc_hook)
    return _TEXTS.encode(_each_amount(whole, _text))


def builtins_with_texts(value: Any) -> Any:  # noqa: ANN401 - whatever msgspec encodes
    """Lists, objects and plain values, amounts as texts."""
    return _each_amount(msgspec.to_builtins(value, builtin_types=(Decimal,)), _text)


def _each_amount(value: object, write: Callable[[Decimal], object]) -> object:
    if isinstance(value, Decimal):
        return write(value)
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _each_amount(member, write) for name, member in members.items()}
    if isinstance(value, list | tuple):
        items = cast("list[object] | tuple[object, ...]", value)
        return [_each_amount(item, write) for item in items]
    return value


def _number(amount: Decimal) -> msgspec.Raw:
    return msgspec.Raw(_text(amount).encode())


def _text(amount: Decimal) -> str:
    """As the encoder writes it, unless that has an exponent."""
    text = str(amount)
    return plain(amount) if "E" in text else text
