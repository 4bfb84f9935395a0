"""Writes tables as TOML that a person can read and change: units grouped, one key per line."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

_GROUPED_FROM = 10_000


def to_toml(document: Mapping[str, Any]) -> str:
    """TOML of nested tables: scalars first, then tables and arrays of tables, in the given order.

    A table whose values are all plain, or lists of plain ones, is written on one line.
    """
    return "\n".join(_table(document, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    nested: list[tuple[str, Any]] = []
    for key, value in table.items():
        if value is None:
            continue
        if _is_nested(value, path):
            nested.append((key, value))
        else:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in nested:
        inner = (*path, key)
        if isinstance(value, list):
            for item in cast(list[Mapping[str, Any]], value):
                yield ""
                yield f"[[{'.'.join(map(_key, inner))}]]"
                yield from _table(item, inner)
            continue
        mapping = cast(Mapping[str, Any], value)
        if not all(_is_nested(item, inner) for item in mapping.values()):
            yield ""
            yield f"[{'.'.join(map(_key, inner))}]"
        yield from _table(mapping, inner)


def _is_nested(value: object, path: tuple[str, ...]) -> bool:
    if isinstance(value, list):
        items = cast(list[object], value)
        return bool(items) and isinstance(items[0], dict)
    if isinstance(value, dict):
        items = list(cast(dict[str, object], value).values())
        is_plain = not any(_is_nested(item, ()) for item in items)
        return not path or path[-1] == "service_tiers" or not is_plain
    return False


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else _text(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if value >= _GROUPED_FROM else str(value)
        case Decimal():
            return amount(value)
        case str():
            return _text(value)
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        case date():
            return value.isoformat()
        case list():
            return f"[{', '.join(_value(item) for item in cast(list[object], value))}]"
        case dict():
            pairs = cast(dict[str, object], value).items()
            return f"{{ {', '.join(f'{_key(key)} = {_value(item)}' for key, item in pairs)} }}"
        case _:
            raise TypeError(f"cannot write {value!r} as TOML")


def amount(value: Decimal) -> str:
    """A decimal without exponent or needless zeros; a whole number stays one."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
