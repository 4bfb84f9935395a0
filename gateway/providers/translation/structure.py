"""Answers in JSON where a protocol has no word for it, and schemas as strict services take them."""

import functools
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from gateway.providers.translation.tools import AnswerForm, FunctionTool

ANSWER_TOOL: Final = "tollway_answer"
"""A call of this function is the answer itself: its arguments become the content."""

_ENCODER: Final = msgspec.json.Encoder()
_REMEMBERED: Final = 512
_LARGEST_REMEMBERED: Final = 65_536
_MAPS: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_VALUES: Final = frozenset({"enum", "const", "default", "examples", "required"})


def instruction_for(form: AnswerForm) -> str:
    """What to tell a model that can only be asked for JSON."""
    text = (
        "Answer with a single JSON object and nothing else: no explanation before or after it, "
        "and no code fence around it."
    )
    if form.kind != "json_schema" or form.schema is None:
        return text
    about = f" ({form.description})" if form.description else ""
    return f"{text} The object{about} must fit this JSON Schema: {bytes(form.schema).decode()}"


def answer_tool(form: AnswerForm) -> FunctionTool:
    """A function to be forced: what it is called with is the answer."""
    return FunctionTool(
        name=ANSWER_TOOL,
        description=form.description or "Give the answer. Call this exactly once.",
        parameters=form.schema,
    )


def strict_schema(schema: Raw, dropped: frozenset[str], formats: frozenset[str]) -> Raw | None:
    """A schema whose objects are closed, without keywords that a strict service refuses.

    None when it cannot be made strict: it refers to itself, or an object is open on purpose.
    Constraints that are dropped are told in the description, so that the model still sees them.

    Args:
        schema: the JSON Schema.
        dropped: keywords to leave out.
        formats: values of ``format`` that may stay.
    """
    content = bytes(schema)
    if len(content) > _LARGEST_REMEMBERED:
        return _strict(content, dropped, formats)
    return _remembered(content, dropped, formats)


@functools.lru_cache(maxsize=_REMEMBERED)
def _remembered(content: bytes, dropped: frozenset[str], formats: frozenset[str]) -> Raw | None:
    return _strict(content, dropped, formats)


def _strict(content: bytes, dropped: frozenset[str], formats: frozenset[str]) -> Raw | None:
    value: object = msgspec.json.decode(content)
    if not isinstance(value, dict):
        return None
    schema = cast("dict[str, Any]", value)
    try:
        return None if is_recursive(schema) else _encoded(_close(schema, dropped, formats))
    except (_OpenObjectError, RecursionError):
        return None


def _encoded(value: object) -> Raw:
    return Raw(_ENCODER.encode(value))


class _OpenObjectError(Exception):
    """The schema wants an object of unknown members."""


def _close(node: object, dropped: frozenset[str], formats: frozenset[str]) -> object:
    if not isinstance(node, dict):
        return node
    members = cast("dict[str, Any]", node)
    closed: dict[str, Any] = {}
    told: list[str] = []
    for keyword, value in members.items():
        if keyword in dropped or (keyword == "format" and value not in formats):
            told.append(f"{keyword}: {msgspec.json.encode(value).decode()}")
        elif keyword == "oneOf" and isinstance(value, list):
            closed["anyOf"] = [
                _close(inner, dropped, formats) for inner in cast("list[object]", value)
            ]
        elif keyword in _MAPS and isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            closed[keyword] = {name: _close(one, dropped, formats) for name, one in inner.items()}
        elif keyword in _LISTS and isinstance(value, list):
            closed[keyword] = [
                _close(inner, dropped, formats) for inner in cast("list[object]", value)
            ]
        elif keyword in _VALUES:
            closed[keyword] = value
        elif keyword == "additionalProperties":
            if isinstance(value, dict):
                raise _OpenObjectError
        else:
            closed[keyword] = _close(value, dropped, formats)
    if _is_object(closed):
        if not closed.get("properties") and members.get("additionalProperties") is not False:
            raise _OpenObjectError
        closed["additionalProperties"] = False
    if told:
        description = closed.get("description")
        about = [description] if isinstance(description, str) and description else []
        closed["description"] = " ".join([*about, f"({', '.join(told)})"])
    return closed


def _is_object(node: Mapping[str, Any]) -> bool:
    kind = node.get("type")
    return (
        kind == "object"
        or (isinstance(kind, list) and "object" in kind)
        or ("properties" in node and kind is None)
    )


def is_recursive(schema: dict[str, Any]) -> bool:
    """Whether a reference leads back to where it stands."""
    definitions: dict[str, Any] = {}
    for section in ("$defs", "definitions"):
        inner = schema.get(section)
        if isinstance(inner, dict):
            for name, node in cast("dict[str, Any]", inner).items():
                definitions[f"#/{section}/{name}"] = node
    root = {name: node for name, node in schema.items() if name not in {"$defs", "definitions"}}
    graph = {"#": _references(root)} | {
        address: _references(node) for address, node in definitions.items()
    }
    state: dict[str, bool] = {}

    def leads_back(address: str) -> bool:
        if address in state:
            return state[address]
        state[address] = True
        state[address] = any(leads_back(inner) for inner in graph.get(address, ()))
        return state[address]

    return any(leads_back(address) for address in graph)


def _references(node: object) -> set[str]:
    found: set[str] = set()
    waiting: list[object] = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            members = cast("dict[str, Any]", item)
            reference = members.get("$ref")
            if isinstance(reference, str):
                found.add(reference)
            waiting += members.values()
        elif isinstance(item, list):
            waiting += cast("list[object]", item)
    return found
