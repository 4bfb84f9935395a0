"""Tools, the choice among them, and answers in JSON, as Anthropic's Messages API takes them."""

import re
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from gateway.chat.web_search import WebSearch
from gateway.providers.anthropic_content import Block, cache_control, unsupported
from gateway.providers.base import Target
from gateway.providers.translation.options import left_out
from gateway.providers.translation.structure import answer_tool, instruction_for, strict_schema
from gateway.providers.translation.tools import AnswerForm, FunctionTool, Tools
from gateway.providers.translation.turns import AssistantTurn, Conversation

# platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations".
UNSUPPORTED_KEYWORDS: Final = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
        "minContains",
        "maxContains",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
        "unevaluatedProperties",
        "dependentRequired",
        "dependentSchemas",
        "prefixItems",
        "not",
        "if",
        "then",
        "else",
    }
)
FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
SEARCH_TOOL: Final = "web_search_20250305"
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_COMBINATORS: Final = ("oneOf", "anyOf", "allOf")
_NO_ARGUMENTS: Final[Block] = {"type": "object", "properties": {}}
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_PLAIN_OBJECT: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"object"')


class Wishes(msgspec.Struct, kw_only=True):
    """What the tools and the form of the answer come to, to be put into the body."""

    tools: list[Block] = []
    tool_choice: Block | None = None
    output_format: Block | None = None
    instruction: str | None = None
    """To be told beside the system texts."""


def plan_tools(
    tools: Tools,
    form: AnswerForm,
    conversation: Conversation,
    target: Target,
    warnings: list[str],
    *,
    search: WebSearch | None,
    may_force: bool,
) -> Wishes:
    """Choose how tools, and an answer in JSON, are asked for.

    A schema is conveyed natively where the endpoint is known to have that, else as a forced call of
    one function, else in words. ``may_force`` is False where thinking forbids to force a call.

    Raises:
        FaultError: a tool has a name that is not accepted.
    """
    wishes = Wishes()
    is_strict = target.endpoint.capabilities.get("structured_outputs") is True
    wishes.tools = [_tool(tool, is_strict=is_strict) for tool in tools.functions]
    wishes.tool_choice = _choice(tools, target, warnings)
    _add_form(wishes, form, conversation, is_strict=is_strict, may_force=may_force)
    if search is not None:
        _add_search(wishes, search, target, warnings)
    if not wishes.tools and conversation.has_calls:
        # Calls in the history are refused where no tools are defined.
        wishes.tools = [
            {"name": name, "input_schema": _NO_ARGUMENTS} for name in _called(conversation)
        ]
        wishes.tool_choice = {"type": "none"}
    return wishes


def _tool(tool: FunctionTool, *, is_strict: bool) -> Block:
    if _TOOL_NAME.fullmatch(tool.name) is None:
        raise unsupported(f"tools named {tool.name[:64]!r}")
    block: Block = {"name": tool.name}
    if tool.description is not None:
        block["description"] = tool.description
    strict = (
        strict_schema(tool.parameters, UNSUPPORTED_KEYWORDS, FORMATS)
        if tool.strict and is_strict and tool.parameters is not None
        else None
    )
    block["input_schema"] = strict or input_schema(tool.parameters)
    if strict is not None:
        block["strict"] = True
    if tool.cache is not None:
        block["cache_control"] = cache_control(tool.cache)
    return block


def input_schema(parameters: Raw | None) -> Raw | Block:
    """A schema of an object: the type is required, and alternatives at the top are refused."""
    if parameters is None:
        return _NO_ARGUMENTS
    content = bytes(parameters)
    if _PLAIN_OBJECT.match(content) and not any(b'"%bOf"' % kind in content for kind in _KINDS):
        return parameters
    schema = _OBJECT.decode(content)
    branches: list[tuple[str, dict[str, Any]]] = [
        (combinator, branch)
        for combinator in _COMBINATORS
        for branch in cast("list[dict[str, Any]]", schema.get(combinator) or [])
    ]
    own: dict[str, Any] = schema.get("properties") or {}
    required: list[str] = list(schema.get("required") or ())
    properties: dict[str, Any] = {}
    for combinator, branch in branches:
        properties |= branch.get("properties") or {}
        if combinator == "allOf":
            required += branch.get("required") or ()
    kept = {name: value for name, value in schema.items() if name not in _COMBINATORS}
    kept |= {"type": "object", "properties": properties | own}
    if required:
        kept["required"] = list(dict.fromkeys(required))
    return kept


_KINDS: Final = (b"one", b"any", b"all")


def _choice(tools: Tools, target: Target, warnings: list[str]) -> Block | None:
    if not tools.functions:
        return None
    if tools.mode == "none":
        return {"type": "none"}
    choice: Block | None = None
    if tools.forced is not None:
        choice = {"type": "tool", "name": tools.forced}
    elif tools.mode == "required":
        choice = {"type": "any"}
    elif tools.mode == "auto":
        choice = {"type": "auto"}
    endpoint = target.endpoint
    if tools.must_call and endpoint.capabilities.get("forced_tool_choice") is False:
        warnings.append(f"{endpoint.id} cannot be made to call a tool; `tool_choice` is auto")
        choice = {"type": "auto"}
    if tools.parallel is False:
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return choice


def _add_form(
    wishes: Wishes,
    form: AnswerForm,
    conversation: Conversation,
    *,
    is_strict: bool,
    may_force: bool,
) -> None:
    if form.kind == "text":
        return
    schema = form.schema
    if schema is not None and is_strict and not conversation.is_prefilled:
        strict = strict_schema(schema, UNSUPPORTED_KEYWORDS, FORMATS)
        if strict is not None:
            wishes.output_format = {"type": "json_schema", "schema": strict}
            return
    if schema is not None and may_force and not wishes.tools and not conversation.is_prefilled:
        tool = answer_tool(form)
        wishes.tools = [_tool(tool, is_strict=False)]
        wishes.tool_choice = {"type": "tool", "name": tool.name}
        return
    wishes.instruction = instruction_for(form)


def _add_search(wishes: Wishes, search: WebSearch, target: Target, warnings: list[str]) -> None:
    endpoint = target.endpoint
    if endpoint.capabilities.get("web_search") is not True:
        warnings.append(
            f"no web search by {endpoint.id}, which is not known to have one here "
            f"(asked for by `{search.asked_by[0]}`)"
        )
        return
    tool: Block = {"type": SEARCH_TOOL, "name": "web_search"}
    if search.max_uses is not None:
        tool["max_uses"] = search.max_uses
    if search.location is not None:
        place = msgspec.to_builtins(search.location)
        tool["user_location"] = {"type": "approximate"} | place
    if search.context_size is not None:
        warnings.append(left_out("web_search_options.search_context_size", endpoint.id))
    wishes.tools = [*wishes.tools, tool]


def _called(conversation: Conversation) -> list[str]:
    return list(
        dict.fromkeys(
            call.name
            for turn in conversation.turns
            if isinstance(turn, AssistantTurn)
            for call in turn.calls
        )
    )
