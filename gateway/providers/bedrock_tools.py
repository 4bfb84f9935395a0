"""Tools, the choice among them, and answers in JSON, as Converse takes them."""

from typing import Any, Final

import msgspec

from gateway.domain.outcomes import Outcome
from gateway.providers.anthropic_tools import FORMATS, UNSUPPORTED_KEYWORDS, input_schema
from gateway.providers.base import Fault, FaultError
from gateway.providers.bedrock_content import Block, cache_point
from gateway.providers.bedrock_families import Family
from gateway.providers.translation.reading import WIRE_ID
from gateway.providers.translation.structure import (
    answer_tool,
    instruction_for,
    strict_schema,
)
from gateway.providers.translation.tools import AnswerForm, FunctionTool, Tools
from gateway.providers.translation.turns import AssistantTurn, Conversation
from pricing.endpoint import Endpoint

TEXT_FORMAT: Final = "text_format"
"""The capability of endpoints whose answers Bedrock itself holds to a schema."""
_NO_ARGUMENTS: Final[Block] = {"type": "object", "properties": {}}


class Wishes(msgspec.Struct, kw_only=True):
    """What the tools and the form of the answer come to, to be put into the body."""

    tools: list[Block] = []
    tool_choice: Block | None = None
    text_format: Block | None = None
    """``outputConfig.textFormat``."""
    instruction: str | None = None
    """To be told beside the system texts."""


def plan_tools(
    tools: Tools,
    form: AnswerForm,
    conversation: Conversation,
    endpoint: Endpoint,
    warnings: list[str],
    *,
    family: Family,
    may_force: bool,
) -> Wishes:
    """Choose how tools, and an answer in JSON, are asked for.

    A schema is conveyed natively where the endpoint is known to have that, else as a forced call of
    one function, else in words. ``may_force`` is False where thinking forbids to force a call.

    Raises:
        FaultError: a tool has a name that is not accepted.
    """
    wishes = Wishes()
    # There is no word for choosing none: without tools nothing can be called.
    if tools.functions and (tools.mode != "none" or conversation.has_calls):
        is_strict = endpoint.capabilities.get(TEXT_FORMAT) is True
        for tool in tools.functions:
            wishes.tools.append(_tool(tool, is_strict=is_strict))
            if tool.cache is not None and family.caches_tools:
                wishes.tools.append(cache_point(tool.cache, family))
        wishes.tool_choice = _choice(tools, endpoint, warnings)
    _add_form(wishes, form, conversation, endpoint, may_force=may_force)
    if not wishes.tools and conversation.has_calls:
        # Calls in the history are refused where no tools are defined.
        wishes.tools = [_spec(name, _NO_ARGUMENTS) for name in _called(conversation)]
    if tools.parallel is False and wishes.tools:
        warnings.append(f"`parallel_tool_calls` is not supported by {endpoint.id}")
    return wishes


def _tool(tool: FunctionTool, *, is_strict: bool) -> Block:
    if WIRE_ID.fullmatch(tool.name) is None:
        raise FaultError(
            Fault(
                outcome=Outcome.UNSUPPORTED,
                message=f"a tool named {tool.name[:80]!r}: letters, digits, - and _ are taken, "
                "at most 64",
                status_code=400,
            )
        )
    strict = (
        strict_schema(tool.parameters, UNSUPPORTED_KEYWORDS, FORMATS)
        if tool.strict and is_strict and tool.parameters is not None
        else None
    )
    block = _spec(tool.name, strict or input_schema(tool.parameters))
    if tool.description is not None and tool.description.strip():
        block["toolSpec"]["description"] = tool.description
    if strict is not None:
        block["toolSpec"]["strict"] = True
    return block


def _spec(name: str, schema: object) -> Block:
    return {"toolSpec": {"name": name, "inputSchema": {"json": schema}}}


def _choice(tools: Tools, endpoint: Endpoint, warnings: list[str]) -> Block | None:
    if tools.mode == "none":
        warnings.append(
            f"`tool_choice` 'none' is not known by {endpoint.id}, and the conversation holds calls,"
            " so that tools must be defined: it may call them"
        )
        return None
    if not tools.must_call:
        return None
    if endpoint.capabilities.get("tool_choice") is False:
        warnings.append(f"{endpoint.id} cannot be made to call a tool; `tool_choice` is auto")
        return None
    if tools.forced is not None:
        return {"tool": {"name": tools.forced}}
    return {"any": {}}


def _add_form(
    wishes: Wishes,
    form: AnswerForm,
    conversation: Conversation,
    endpoint: Endpoint,
    *,
    may_force: bool,
) -> None:
    if form.kind == "text":
        return
    capabilities = endpoint.capabilities
    schema = None if conversation.is_prefilled else form.schema
    if schema is not None and capabilities.get(TEXT_FORMAT) is True:
        strict = strict_schema(schema, UNSUPPORTED_KEYWORDS, FORMATS)
        if strict is not None:
            wishes.text_format = _text_format(form, bytes(strict).decode())
            return
    can_force = (
        may_force
        and capabilities.get("tools") is not False
        and capabilities.get("tool_choice") is not False
    )
    if schema is not None and can_force and not wishes.tools and not conversation.has_calls:
        tool = answer_tool(form)
        wishes.tools = [_tool(tool, is_strict=False)]
        wishes.tool_choice = {"tool": {"name": tool.name}}
        return
    wishes.instruction = instruction_for(form)


def _text_format(form: AnswerForm, schema: str) -> Block:
    definition: dict[str, Any] = {"schema": schema, "name": form.name}
    if form.description:
        definition["description"] = form.description
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}


def _called(conversation: Conversation) -> list[str]:
    return list(
        dict.fromkeys(
            call.name
            for turn in conversation.turns
            if isinstance(turn, AssistantTurn)
            for call in turn.calls
        )
    )
