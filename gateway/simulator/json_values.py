"""Telling JSON values apart when any may come."""

from typing import Any, TypeAlias, cast

Json: TypeAlias = Any


def as_object(value: object) -> dict[str, Any] | None:
    """`value` when it is a JSON object, else None."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def as_array(value: object) -> list[Any] | None:
    """`value` when it is a JSON array, else None."""
    return cast(list[Any], value) if isinstance(value, list) else None
