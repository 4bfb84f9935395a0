"""Which schemas the Gemini API takes: an OpenAPI subset, or some keywords of JSON Schema.

The subset is the message `Schema` of content.proto; the keywords are those that the comment on
`response_json_schema` in generative_service.proto lists. Others are refused here, where the service
may also ignore them, so that an adapter that sends them is found out.
"""

from typing import Any

from gateway.simulator.gemini_errors import invalid
from gateway.simulator.json_values import as_array, as_object

MAX_DEPTH = 32
JSON_SCHEMA_KEYWORDS = frozenset(
    {
        "$id",
        "$defs",
        "$ref",
        "$anchor",
        "type",
        "format",
        "title",
        "description",
        "enum",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "anyOf",
        "oneOf",
        "properties",
        "additionalProperties",
        "required",
        "propertyOrdering",
    }
)
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_FORMATS = {
    "STRING": ("enum", "date-time"),
    "NUMBER": ("float", "double"),
    "INTEGER": ("int32", "int64"),
}


def check_openapi(node: dict[str, Any], at: str, *, depth: int = 0) -> None:
    """Raise `RefusedError` for a `Schema` that the service refuses; `node` is transcoded."""
    if depth > MAX_DEPTH:
        raise invalid(f"* {at}: schema is nested too deeply.\n", field=at)
    kind = node.get("type")
    options = node.get("anyOf")
    if options is not None:
        if set(node) - {"anyOf", "description", "nullable", "title", "default"}:
            raise invalid(
                f"* {at}.any_of: when using any_of, it must be the only field set.\n", field=at
            )
        for index, option in enumerate(options):
            check_openapi(option, f"{at}.any_of[{index}]", depth=depth + 1)
        return
    if kind in (None, "TYPE_UNSPECIFIED"):
        raise invalid(f"* {at}.type: must be specified.\n", field=at)
    if "enum" in node and kind != "STRING":
        raise invalid(f"* {at}.enum: only allowed for STRING type.\n", field=at)
    if "enum" in node and "" in node["enum"]:
        raise invalid(f"* {at}.enum[{node['enum'].index('')}]: cannot be empty.\n", field=at)
    known = _FORMATS.get(kind)
    if "format" in node and (known is None or node["format"] not in known):
        listed = " and ".join(f"'{one}'" for one in known or ())
        raise invalid(f"* {at}.format: only {listed} are supported for {kind} type.\n", field=at)
    if kind == "ARRAY":
        if "items" not in node:
            raise invalid(f"* {at}.items: missing field.\n", field=at)
        check_openapi(node["items"], f"{at}.items", depth=depth + 1)
    if kind == "OBJECT":
        _check_object(node, at, depth)
    elif "properties" in node or "required" in node:
        raise invalid(f"* {at}.properties: only allowed for OBJECT type.\n", field=at)


def _check_object(node: dict[str, Any], at: str, depth: int) -> None:
    properties: dict[str, Any] = node.get("properties") or {}
    if not properties:
        raise invalid(f"* {at}.properties: should be non-empty for OBJECT type.\n", field=at)
    required: list[str] = node.get("required") or []
    for index, name in enumerate(required):
        if name not in properties:
            raise invalid(f"* {at}.required[{index}]: property is not defined.\n", field=at)
    for name, one in properties.items():
        check_openapi(one, f"{at}.properties[{name}]", depth=depth + 1)


def check_json_schema(schema: object, at: str) -> None:
    """Raise `RefusedError` for a JSON Schema that the service refuses."""
    root = as_object(schema)
    if root is None:
        raise invalid(f"* {at}: must be a JSON object.\n", field=at)
    _JsonSchema(root, at).check(root, at, 0)


class _JsonSchema:
    def __init__(self, root: dict[str, Any], at: str) -> None:
        self._root = root
        self._name = at

    def check(self, value: object, at: str, depth: int, seen: tuple[str, ...] = ()) -> None:
        if isinstance(value, bool):
            return
        node = as_object(value)
        if node is None or depth > MAX_DEPTH:
            raise invalid(f"* {at}: must be a schema that is not nested too deeply.\n", field=at)
        for name in node:
            if name not in JSON_SCHEMA_KEYWORDS:
                raise invalid(
                    f'Invalid JSON payload received. Unknown name "{name}" at '
                    f"'{at}': Cannot find field.",
                    field=at,
                )
        for name, one in (as_object(node.get("$defs")) or {}).items():
            self.check(one, f"{at}.$defs.{name}", depth + 1, (*seen, f"#/$defs/{name}"))
        if "$ref" in node:
            self._check_ref(node, at, depth, seen)
            return
        kind = node.get("type")
        kinds = as_array(kind) or [kind]
        if kind is not None and not all(one in _TYPES for one in kinds):
            raise invalid(f"* {at}.type: invalid type {kind!r}.\n", field=at)
        for one in as_array(node.get("enum")) or []:
            if not isinstance(one, (str, int, float)) or isinstance(one, bool):
                raise invalid(f"* {at}.enum: only strings and numbers are supported.\n", field=at)
        self._check_parts(node, at, depth, seen)

    def _check_parts(
        self, node: dict[str, Any], at: str, depth: int, seen: tuple[str, ...]
    ) -> None:
        properties = as_object(node.get("properties")) or {}
        required: list[Any] = as_array(node.get("required")) or []
        for name in required:
            if properties and name not in properties:
                raise invalid(f"* {at}.required: {name} is not defined.\n", field=at)
        for name, one in properties.items():
            # What need not be there may recur: it is unrolled a few times.
            inside = seen if name in required else ()
            self.check(one, f"{at}.properties.{name}", depth + 1, inside)
        for name in ("items", "additionalProperties"):
            if name in node:
                self.check(node[name], f"{at}.{name}", depth + 1, seen)
        for name in ("prefixItems", "anyOf", "oneOf"):
            for index, one in enumerate(as_array(node.get(name)) or []):
                self.check(one, f"{at}.{name}[{index}]", depth + 1, seen)

    def _check_ref(self, node: dict[str, Any], at: str, depth: int, seen: tuple[str, ...]) -> None:
        if any(not name.startswith("$") for name in node):
            raise invalid(
                f"* {at}: if `$ref` is set, no other properties may be set, except those that "
                "start with `$`.\n",
                field=at,
            )
        ref = node["$ref"]
        name = ref.removeprefix("#/$defs/") if isinstance(ref, str) else ""
        if ref != "#" and name not in (as_object(self._root.get("$defs")) or {}):
            raise invalid(f"* {at}.$ref: {ref} is not defined in {self._name}.\n", field=at)
        if ref in seen or (ref == "#" and depth > 0 and seen):
            raise invalid(
                f"* {at}.$ref: cyclic references may only be used in properties that are not "
                "required.\n",
                field=at,
            )
