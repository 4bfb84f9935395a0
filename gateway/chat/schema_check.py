"""Whether a value fits a JSON schema, as far as models get it wrong.

Known are type, enum, const, required, properties, additionalProperties and items; other keywords
are taken to be met.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

Json = Any
"""A decoded JSON value."""

_MOST_VALUES_QUOTED = 5


def find_misfit(value: Json, schema: Json, path: str = "") -> str | None:
    """The first thing that does not fit, as half a sentence; None when everything does.

    A schema that is not an object allows everything, except ``false``, which allows nothing.
    """
    if schema is False:
        return f"{_named(path)} is not allowed"
    if not isinstance(schema, Mapping):
        return None
    rules = cast("Mapping[str, Json]", schema)
    misfit = _misfit_of_type(value, rules.get("type"), path) or _misfit_of_choice(
        value, rules, path
    )
    if misfit is not None:
        return misfit
    if isinstance(value, dict):
        return _misfit_of_object(cast("dict[str, Json]", value), rules, path)
    if isinstance(value, list):
        for number, item in enumerate(cast("list[Json]", value)):
            misfit = find_misfit(item, rules.get("items"), f"{path}.{number}")
            if misfit is not None:
                return misfit
    return None


def _named(path: str) -> str:
    return f"`{path.strip('.')}`" if path else "the answer"


def _is_integer(value: Json) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


_IS_OF_TYPE: Mapping[str, Callable[[Json], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _misfit_of_type(value: Json, wanted: Json, path: str) -> str | None:
    kinds = cast("list[Json]", wanted if isinstance(wanted, list) else [wanted])
    known = [kind for kind in kinds if isinstance(kind, str) and kind in _IS_OF_TYPE]
    if not known or any(_IS_OF_TYPE[kind](value) for kind in known):
        return None
    return f"{_named(path)} is not of the type {' or '.join(known)}"


def _misfit_of_choice(value: Json, rules: Mapping[str, Json], path: str) -> str | None:
    choices = rules.get("enum")
    if isinstance(choices, list):
        allowed = cast("list[Json]", choices)
    elif "const" in rules:
        allowed = [rules["const"]]
    else:
        return None
    if any(_is_same(value, choice) for choice in allowed):
        return None
    quoted = ", ".join(repr(choice)[:64] for choice in allowed[:_MOST_VALUES_QUOTED])
    return f"{_named(path)} is not one of {quoted}"


def _is_same(value: Json, other: Json) -> bool:
    """Equal as JSON, where true is not 1."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _misfit_of_object(value: dict[str, Json], rules: Mapping[str, Json], path: str) -> str | None:
    required = rules.get("required")
    for name in cast("list[Json]", required if isinstance(required, list) else []):
        if isinstance(name, str) and name not in value:
            return f"{_named(f'{path}.{name}')} is missing"
    known = rules.get("properties")
    properties = cast("Mapping[str, Json]", known if isinstance(known, Mapping) else {})
    others = rules.get("additionalProperties")
    for name, item in value.items():
        schema = properties.get(name, others)
        misfit = find_misfit(item, schema, f"{path}.{name}")
        if misfit is not None:
            return misfit
    return None
