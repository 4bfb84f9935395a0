"""JSON Schemas as the Gemini API takes them: only keywords it lists, references written out.

Two dialects: some keywords of JSON Schema (``responseJsonSchema``, ``parametersJsonSchema``), and
for older models a subset of OpenAPI 3.0 (``responseSchema``, ``parameters``). What is known to be
taken is kept, everything else is left out: lists of what is refused are never complete. Constraints
that are left out are told in the description, so that the model still sees them.
https://ai.google.dev/gemini-api/docs/structured-output, generative_service.proto, content.proto
"""

import functools
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

Node = dict[str, Any]

_ENCODER: Final = msgspec.json.Encoder()
_REMEMBERED: Final = 512
_LARGEST_REMEMBERED: Final = 65_536
_MOST_NODES: Final = 5_000
_DEEPEST: Final = 24
_KEYWORDS_A_NODE: Final = 16
_KEPT: Final = frozenset(
    {"title", "description", "format", "minItems", "maxItems", "minimum", "maximum"}
)
_SILENT: Final = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "$anchor",
        "definitions",
        "default",
        "example",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "nullable",
        "propertyOrdering",
        "strict",
    }
)
"""What may go without a word: it changes nothing in what is valid, or is read otherwise."""
_HANDLED: Final = frozenset(
    {
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "items",
        "prefixItems",
        "additionalProperties",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
    }
)
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_FORMATS: Final = {
    "STRING": frozenset({"enum", "date-time"}),
    "NUMBER": frozenset({"float", "double"}),
    "INTEGER": frozenset({"int32", "int64"}),
}


class Fitted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A schema that is taken, and the keywords that had to go."""

    schema: Raw
    dropped: tuple[str, ...] = ()
    is_empty_object: bool = False
    """An object without properties, which need not, and at times must not, be sent."""


def fit_schema(schema: Raw, *, is_openapi: bool) -> Fitted:
    """A schema in one of the two dialects. Whatever is in it, the result is one that is taken."""
    content = bytes(schema)
    if len(content) > _LARGEST_REMEMBERED:
        return _fit(content, is_openapi)
    return _remembered(content, is_openapi)


@functools.lru_cache(maxsize=_REMEMBERED)
def _remembered(content: bytes, is_openapi: bool) -> Fitted:  # noqa: FBT001
    return _fit(content, is_openapi)


def _fit(content: bytes, is_openapi: bool) -> Fitted:  # noqa: FBT001
    value: object = msgspec.json.decode(content)
    root = cast("Node", value) if isinstance(value, dict) else {}
    fitter = _Fitter(root)
    node = fitter.fit(root, (), 0)
    is_empty = node.get("type", "object") == "object" and not (
        node.get("properties") or node.get("additionalProperties") or node.get("anyOf")
    )
    written = _to_openapi(node) if is_openapi else node
    return Fitted(
        schema=Raw(_ENCODER.encode(written)),
        dropped=tuple(sorted(fitter.dropped)),
        is_empty_object=is_empty,
    )


class _Fitter:
    """Walks a schema once; references are followed where they stand."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._nodes = 0
        self.dropped: set[str] = set()

    def fit(self, value: object, seen: tuple[str, ...], depth: int) -> Node:
        self._nodes += 1
        if not isinstance(value, dict) or self._nodes > _MOST_NODES or depth > _DEEPEST:
            return {}
        node = cast("Node", value)
        # Where references lead, many keywords are read as often as they are referred to.
        self._nodes += len(node) // _KEYWORDS_A_NODE
        if "$ref" in node:
            return self._follow(node, seen, depth)
        if "allOf" in node:
            return self.fit(self._merge(node), seen, depth + 1)
        fitted: Node = {name: node[name] for name in _KEPT if _is_usable(name, node.get(name))}
        told: list[str] = []
        for name, constraint in node.items():
            if name in _HANDLED or name in _SILENT or name in fitted:
                continue
            self.dropped.add(name)
            told.append(f"{name}: {_ENCODER.encode(constraint).decode()[:200]}")
        self._fit_type(node, fitted)
        self._fit_values(node, fitted, told)
        self._fit_parts(node, fitted, seen, depth)
        if told:
            about = fitted.get("description")
            fitted["description"] = " ".join([*([about] if about else []), f"({', '.join(told)})"])
        return fitted

    def _fit_type(self, node: Node, fitted: Node) -> None:
        kind = node.get("type")
        kinds = cast("list[object]", kind) if isinstance(kind, list) else [kind]
        known = [one.lower() for one in kinds if isinstance(one, str) and one.lower() in _TYPES]
        if not known:
            guessed = "object" if "properties" in node else "array" if "items" in node else None
            known = [guessed] if guessed else []
        if node.get("nullable") is True and known and "null" not in known:
            known.append("null")
        if known:
            # A type that is named twice would be written out twice, at every depth.
            known = list(dict.fromkeys(known))
            fitted["type"] = known[0] if len(known) == 1 else known

    def _fit_values(self, node: Node, fitted: Node, told: list[str]) -> None:
        values: object = [node["const"]] if "const" in node else node.get("enum")
        if not isinstance(values, list):
            return
        listed = cast("list[object]", values)
        kept = [one for one in listed if _is_listable(one)]
        others = [one for one in listed if one is not None and not _is_listable(one)]
        if others or not kept:
            told.append(f"one of {_ENCODER.encode(listed).decode()[:200]}")
            if "type" not in fitted and all(isinstance(one, bool) for one in others):
                fitted["type"] = "boolean"
            return
        fitted["enum"] = kept
        if "type" not in fitted:
            fitted["type"] = "string" if all(isinstance(one, str) for one in kept) else "number"
        if None in listed:
            kinds = fitted["type"]
            fitted["type"] = [*([kinds] if isinstance(kinds, str) else kinds), "null"]
            fitted["type"] = list(dict.fromkeys(fitted["type"]))

    def _fit_parts(self, node: Node, fitted: Node, seen: tuple[str, ...], depth: int) -> None:
        properties = node.get("properties")
        if isinstance(properties, dict):
            fitted["properties"] = {
                name: self.fit(one, seen, depth + 1)
                for name, one in cast("Node", properties).items()
            }
        required = node.get("required")
        if isinstance(required, list):
            known = fitted.get("properties", {})
            fitted["required"] = [name for name in cast("list[object]", required) if name in known]
            if not fitted["required"]:
                del fitted["required"]
        items = node.get("items")
        if isinstance(items, list):
            fitted["prefixItems"] = self._each(cast("list[object]", items), seen, depth)
        elif items is not None:
            fitted["items"] = self.fit(items, seen, depth + 1)
        if isinstance(node.get("prefixItems"), list):
            fitted["prefixItems"] = self._each(node["prefixItems"], seen, depth)
        more = node.get("additionalProperties")
        if isinstance(more, bool):
            fitted["additionalProperties"] = more
        elif isinstance(more, dict):
            fitted["additionalProperties"] = self.fit(cast("Node", more), seen, depth + 1)
        options = node.get("anyOf") or node.get("oneOf")
        if isinstance(options, list) and options:
            fitted["anyOf"] = self._each(cast("list[object]", options), seen, depth)

    def _each(self, nodes: list[object], seen: tuple[str, ...], depth: int) -> list[Node]:
        return [self.fit(one, seen, depth + 1) for one in nodes]

    def _follow(self, node: Node, seen: tuple[str, ...], depth: int) -> Node:
        """What a reference points to, in its place; where it leads back, anything goes."""
        reference = node["$ref"]
        beside = {name: value for name, value in node.items() if name != "$ref"}
        found = self._find(reference) if isinstance(reference, str) else None
        if found is None or reference in seen:
            self.dropped.add("$ref")
            kind = found.get("type") if found is not None else None
            beside.setdefault("type", kind if isinstance(kind, str) else "object")
            return self.fit(
                {name: beside[name] for name in beside if name not in _HANDLED - {"type"}},
                seen,
                depth + 1,
            )
        return self.fit({**found, **beside}, (*seen, reference), depth + 1)

    def _find(self, reference: str) -> Node | None:
        if not reference.startswith("#"):
            return None
        place: object = self._root
        for step in reference[1:].strip("/").split("/") if reference != "#" else []:
            key = step.replace("~1", "/").replace("~0", "~")
            place = _member(place, key)
        return cast("Node", place) if isinstance(place, dict) else None

    def _merge(self, node: Node) -> Node:
        """A node with all parts of its ``allOf`` in it, and parts of those parts.

        A reference counts once, so that parts which name each other do not double without end.
        """
        merged: Node = {name: value for name, value in node.items() if name != "allOf"}
        parts: deque[object] = deque(_listed(node["allOf"]))
        followed: set[str] = set()
        while parts and self._nodes <= _MOST_NODES:
            part = parts.popleft()
            self._nodes += 1
            members = cast("Node", part) if isinstance(part, dict) else {}
            reference = members.get("$ref")
            if isinstance(reference, str):
                found = {} if reference in followed else self._find(reference) or {}
                followed.add(reference)
                members = {**found, **members}
                del members["$ref"]
            for name, value in members.items():
                if name == "properties" and isinstance(value, dict):
                    merged[name] = {**merged.get(name, {}), **cast("Node", value)}
                elif name == "required" and isinstance(value, list):
                    merged[name] = [
                        *cast("list[Any]", merged.get(name, [])),
                        *cast("list[Any]", value),
                    ]
                elif name == "allOf":
                    parts.extend(_listed(value))
                else:
                    merged.setdefault(name, value)
        return merged


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _member(value: object, key: str) -> object:
    return cast("Node", value).get(key) if isinstance(value, dict) else None


def _is_usable(name: str, value: object) -> bool:
    if name in {"title", "description", "format"}:
        return isinstance(value, str) and bool(value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_listable(value: object) -> bool:
    """Enums are of texts that are not empty, or of numbers."""
    return bool(value) if isinstance(value, str) else _is_usable("minimum", value)


def _to_openapi(node: Mapping[str, Any]) -> Node:
    """A fitted schema as the message ``Schema``."""
    told: list[str] = []
    kinds = node.get("type")
    listed: list[str] = [kinds] if isinstance(kinds, str) else list(kinds or ())
    named = [kind for kind in listed if kind != "null"]
    is_nullable = "null" in listed
    options: list[Node] = list(node.get("anyOf", ()))
    real = [option for option in options if option.get("type") != "null"]
    is_nullable = is_nullable or len(real) < len(options)
    written: Node = {}
    if len(named) > 1:
        real = [{**node, "type": kind} for kind in named]
        real = [{name: one[name] for name in one if name != "anyOf"} for one in real]
    if len(real) > 1:
        written["anyOf"] = [_to_openapi(option) for option in real]
    elif real:
        written = _to_openapi({**{k: v for k, v in node.items() if k != "anyOf"}, **real[0]})
    else:
        written = _one_type(node, named[0] if named else "", told)
    if is_nullable:
        written["nullable"] = True
    about = [node["description"]] if node.get("description") else []
    if about or told:
        written["description"] = " ".join([*about, *(f"({one})" for one in told)])
    return written


def _one_type(node: Mapping[str, Any], kind: str, told: list[str]) -> Node:
    written: Node = {"type": (kind or "string").upper()}
    if "enum" in node and written["type"] == "STRING":
        written["enum"] = [str(one) for one in node["enum"]]
        written["format"] = "enum"
    elif "enum" in node:
        told.append(f"one of {_ENCODER.encode(node['enum']).decode()}")
    form = node.get("format")
    if form in _FORMATS.get(written["type"], ()) and "enum" not in written:
        written["format"] = form
    elif form:
        told.append(f"format: {form}")
    written |= {name: node[name] for name in ("minItems", "maxItems", "title") if name in node}
    if written["type"] in {"NUMBER", "INTEGER"}:
        written |= {name: node[name] for name in ("minimum", "maximum") if name in node}
    if written["type"] == "ARRAY":
        items = node.get("items")
        if items is None:
            several: list[Node] = list(node.get("prefixItems", ()))
            items = {"anyOf": several} if len(several) > 1 else several[0] if several else {}
        written["items"] = _to_openapi(items)
    if written["type"] == "OBJECT":
        properties: Node = node.get("properties") or {"value": {"type": "string"}}
        written["properties"] = {name: _to_openapi(one) for name, one in properties.items()}
        written["propertyOrdering"] = list(properties)
        if node.get("required"):
            written["required"] = list(node["required"])
    return written
