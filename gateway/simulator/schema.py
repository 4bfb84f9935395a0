"""A small value that satisfies a JSON Schema, for tool arguments and structured answers."""

from collections.abc import Callable
from typing import Any, cast

from gateway.simulator.json_values import Json

MAX_DEPTH = 32
# `anyOf` that recurs would be tried in exponentially many ways.
MAX_NODES = 10_000

_FORMATS = {
    "date-time": "2026-01-15T12:00:00Z",
    "date": "2026-01-15",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
}


class SchemaError(ValueError):
    """A schema for which no value was found; the message names the place."""


def instance(schema: Json, word: Callable[[], str]) -> Json:
    """The least value the schema allows: required properties only, least lengths and counts.

    `word` supplies free texts. `pattern`, `not` and `if` are not looked at. Raises SchemaError for
    a schema that is no schema, refers to nothing, or recurs without end.
    """
    return _Builder(schema, word).build(schema, "$", 0)


class _Builder:
    def __init__(self, root: Json, word: Callable[[], str]) -> None:
        self._root = root
        self._word = word
        self._nodes = 0

    def build(self, schema: Json, at: str, depth: int) -> Json:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise SchemaError(f"{at}: recurs without end")
        if schema is True:
            return self._word()
        if not isinstance(schema, dict):
            raise SchemaError(f"{at}: expected an object")
        node = cast(dict[str, Any], schema)
        if "$ref" in node:
            return self.build(self._resolve(node["$ref"], at), at, depth + 1)
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return node["enum"][0]
        if node.get("allOf"):
            return self.build(self._merge(node, at), at, depth + 1)
        for key in ("anyOf", "oneOf"):
            if node.get(key):
                return self._first_possible(node[key], f"{at}.{key}", depth)
        return self._typed(node, at, depth)

    def _typed(self, node: dict[str, Any], at: str, depth: int) -> Json:
        kind = node.get("type")
        if isinstance(kind, list):
            kinds = cast(list[Any], kind)
            kind = next((one for one in kinds if one != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in node else "array" if "items" in node else "string"
        if kind == "object":
            properties: dict[str, Any] = node.get("properties") or {}
            required: list[str] = node.get("required") or []
            return {
                name: self.build(properties.get(name, True), f"{at}.{name}", depth + 1)
                for name in required
            }
        if kind == "array":
            prefix: list[Any] = node.get("prefixItems") or []
            items = node.get("items", True)
            count = max(int(node.get("minItems") or 0), 0)
            return [
                self.build(prefix[i] if i < len(prefix) else items, f"{at}[{i}]", depth + 1)
                for i in range(count)
            ]
        simple: dict[str, Callable[[], Any]] = {
            "string": lambda: self._string(node),
            "integer": lambda: _number(node, is_integer=True),
            "number": lambda: _number(node, is_integer=False),
            "boolean": lambda: True,
            "null": lambda: None,
        }
        if kind not in simple:
            raise SchemaError(f"{at}: unknown type {kind!r}")
        return simple[kind]()

    def _string(self, node: dict[str, Any]) -> str:
        text = _FORMATS.get(str(node.get("format"))) or self._word()
        least = int(node.get("minLength") or 0)
        while len(text) < least:
            text += " " + self._word()
        most = node.get("maxLength")
        return text if most is None else text[: max(int(most), least)]

    def _resolve(self, ref: Json, at: str) -> Json:
        found = self._root
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise SchemaError(f"{at}: `$ref` {ref!r} does not point into this schema")
        for part in ref[1:].strip("/").split("/") if ref != "#" else []:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise SchemaError(f"{at}: `$ref` {ref!r} points to nothing")
            found = cast(dict[str, Any], found)[key]
        return found

    def _merge(self, node: dict[str, Any], at: str) -> dict[str, Any]:
        merged = {key: value for key, value in node.items() if key != "allOf"}
        for part in node["allOf"]:
            resolved = self._resolve(part["$ref"], at) if "$ref" in part else part
            for key, value in resolved.items():
                if key == "properties":
                    merged[key] = {**merged.get(key, {}), **value}
                elif key == "required":
                    merged[key] = [*merged.get(key, []), *value]
                else:
                    merged[key] = value
        return merged

    def _first_possible(self, options: list[Any], at: str, depth: int) -> Json:
        reasons: list[str] = []
        for index, option in enumerate(options):
            try:
                return self.build(option, f"{at}[{index}]", depth + 1)
            except SchemaError as exc:
                reasons.append(str(exc))
        raise SchemaError(reasons[0])


def _number(node: dict[str, Any], *, is_integer: bool) -> float | int:
    step = node.get("multipleOf") or 1
    low = node.get("minimum")
    if node.get("exclusiveMinimum") is not None:
        low = node["exclusiveMinimum"] + step
    high = node.get("maximum")
    if node.get("exclusiveMaximum") is not None:
        high = node["exclusiveMaximum"] - step
    value = step if low is None else -(-low // step) * step
    if high is not None and value > high:
        value = high // step * step
        if low is not None and value < low:
            value = (low + high) / 2
    return int(value) if is_integer else value
