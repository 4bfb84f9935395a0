"""What Anthropic refuses in tools, the choice among them, and schemas that are to be strict."""

import re
from typing import Any

from gateway.simulator.anthropic_errors import refuse
from gateway.simulator.anthropic_models import Abilities
from gateway.simulator.json_values import as_array, as_object

SEARCH = "web_search_20250305"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_OF_TOOL = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_OF_SEARCH = frozenset(
    {
        "type",
        "name",
        "max_uses",
        "allowed_domains",
        "blocked_domains",
        "user_location",
        "cache_control",
    }
)
_OF_PLACE = frozenset({"type", "city", "region", "country", "timezone"})
# platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations".
_KEYWORDS = frozenset(
    {
        "type",
        "title",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "default",
        "anyOf",
        "allOf",
        "$ref",
        "$defs",
        "definitions",
        "format",
        "minItems",
    }
)
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)


def check_tools(given: object, able: Abilities) -> list[dict[str, Any]]:
    """The tools. Raises `RefusedError`."""
    if given is None:
        return []
    tools = as_array(given)
    if tools is None:
        refuse("tools", "Input should be a valid list")
    names: set[str] = set()
    for index, one in enumerate(tools):
        tool = as_object(one)
        if tool is None:
            refuse(f"tools.{index}", "Input should be an object")
        if tool.get("type") == SEARCH:
            _check_search(tool, f"tools.{index}")
        else:
            _check_tool(tool, f"tools.{index}", able)
        if tool["name"] in names:
            refuse("tools", "Tool names must be unique.")
        names.add(tool["name"])
    return tools


def _check_tool(tool: dict[str, Any], at: str, able: Abilities) -> None:
    if tool.get("type", "custom") != "custom":
        refuse(at, f"Input tag '{tool['type']}' does not match any of the expected tags")
    for name in tool:
        if name not in _OF_TOOL:
            refuse(f"{at}.custom.{name}", "Extra inputs are not permitted")
    name = tool.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        refuse(f"{at}.custom.name", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    if not isinstance(tool.get("description", ""), str):
        refuse(f"{at}.custom.description", "Input should be a valid string")
    schema = as_object(tool.get("input_schema"))
    if schema is None:
        refuse(f"{at}.custom.input_schema", "Field required")
    if schema.get("type") != "object":
        refuse(f"{at}.custom.input_schema.type", "Input should be 'object'")
    if any(combinator in schema for combinator in ("oneOf", "anyOf", "allOf")):
        refuse(
            f"{at}.custom.input_schema",
            "input_schema does not support oneOf, allOf, or anyOf at the top level",
        )
    if tool.get("strict"):
        if not able.schemas:
            refuse(f"{at}.custom.strict", "Extra inputs are not permitted")
        check_schema(schema, f"{at}.custom.input_schema")


def _check_search(tool: dict[str, Any], at: str) -> None:
    for name in tool:
        if name not in _OF_SEARCH:
            refuse(f"{at}.{SEARCH}.{name}", "Extra inputs are not permitted")
    if tool.get("name") != "web_search":
        refuse(f"{at}.{SEARCH}.name", "Input should be 'web_search'")
    uses = tool.get("max_uses")
    if uses is not None and (not isinstance(uses, int) or uses < 1):
        refuse(f"{at}.{SEARCH}.max_uses", "Input should be greater than 0")
    place = tool.get("user_location")
    if place is not None:
        facts = as_object(place)
        if facts is None or facts.get("type") != "approximate" or set(facts) - _OF_PLACE:
            refuse(f"{at}.{SEARCH}.user_location", "Extra inputs are not permitted")


def check_tool_choice(
    given: object, tools: list[dict[str, Any]], *, thinks_by_budget: bool
) -> None:
    """Raise `RefusedError` for a choice that cannot be kept."""
    if given is None:
        return
    choice = as_object(given)
    kind = choice.get("type") if choice is not None else None
    allowed = {
        "auto": {"type", "disable_parallel_tool_use"},
        "any": {"type", "disable_parallel_tool_use"},
        "tool": {"type", "name", "disable_parallel_tool_use"},
        "none": {"type"},
    }
    if choice is None or not isinstance(kind, str) or kind not in allowed:
        refuse("tool_choice", "Input tag found does not match any of the expected tags")
    if set(choice) - allowed[kind]:
        refuse(f"tool_choice.{kind}", "Extra inputs are not permitted")
    if not tools:
        refuse("tool_choice", "may only be specified while providing tools.")
    if kind == "tool" and all(tool["name"] != choice.get("name") for tool in tools):
        refuse("tool_choice", f"Tool '{choice.get('name')}' not found in provided tools")
    if kind in {"any", "tool"} and thinks_by_budget:
        refuse("", "Thinking may not be enabled when tool_choice forces tool use.")


def check_schema(given: object, at: str) -> None:
    """Raise `RefusedError` for what strict schemas may not hold."""
    schema = as_object(given)
    if schema is None:
        refuse(at, "Input should be an object")
    _check_node(schema, at)
    definitions = {
        f"#/{section}/{name}": node
        for section in ("$defs", "definitions")
        for name, node in (as_object(schema.get(section)) or {}).items()
    }
    for address in definitions:
        _check_ends(address, definitions, (), at)
    if "#" in _references(schema):
        refuse(at, "Recursive schemas are not supported")


def _check_ends(address: str, definitions: dict[str, Any], path: tuple[str, ...], at: str) -> None:
    if address in path:
        refuse(at, "Recursive schemas are not supported")
    if address not in definitions:
        refuse(at, f"Unresolvable reference: {address}")
    for inner in _references(definitions[address]):
        _check_ends(inner, definitions, (*path, address), at)


def _references(node: object) -> set[str]:
    members, items = as_object(node), as_array(node)
    found: set[str] = set()
    for inner in [*(members or {}).values(), *(items or [])]:
        found |= _references(inner)
    reference = (members or {}).get("$ref")
    return found | {reference} if isinstance(reference, str) else found


def _check_node(given: object, at: str) -> None:
    node = as_object(given)
    if node is None:
        refuse(at, "Input should be an object")
    for keyword, value in node.items():
        if keyword not in _KEYWORDS:
            refuse(at, f"For '{node.get('type')}' type, property '{keyword}' is not supported")
        if keyword in {"properties", "$defs", "definitions"}:
            for name, inner in (as_object(value) or {}).items():
                _check_node(inner, f"{at}.{keyword}.{name}")
        elif keyword in {"anyOf", "allOf"}:
            for number, inner in enumerate(as_array(value) or []):
                _check_node(inner, f"{at}.{keyword}.{number}")
        elif keyword == "items":
            _check_node(value, f"{at}.items")
    if node.get("format", "date") not in _FORMATS:
        refuse(at, f"format '{node['format']}' is not supported")
    if node.get("minItems", 0) not in (0, 1):
        refuse(at, "For 'array' type, 'minItems' values other than 0 or 1 are not supported")
    kind = node.get("type")
    is_object = kind == "object" or "object" in (as_array(kind) or [])
    if is_object and node.get("additionalProperties") is not False:
        refuse(at, "For 'object' type, 'additionalProperties' must be explicitly set to false")
