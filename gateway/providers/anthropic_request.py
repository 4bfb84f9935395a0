"""Our request -> the body that Anthropic's Messages API accepts for one endpoint."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway.chat.request import ChatRequest
from gateway.providers.anthropic_content import (
    Block,
    cache_control,
    hashed,
    limit_cache_marks,
    with_marks,
    write_messages,
)
from gateway.providers.anthropic_thinking import plan_thinking
from gateway.providers.anthropic_tools import plan_tools
from gateway.providers.base import Target
from gateway.providers.translation.options import (
    Options,
    left_out,
    read_options,
    warn_left_out,
)
from gateway.providers.translation.reading import read_conversation
from gateway.providers.translation.tools import read_answer_form, read_tools
from gateway.providers.translation.turns import (
    PLACEHOLDER,
    AssistantTurn,
    CacheMark,
    Conversation,
    TextPart,
    UserTurn,
)
from pricing.endpoint import Endpoint
from pricing.price import FAST

UNKNOWN_MAX_TOKENS: Final = 4096
"""What every model can write; sent where neither the client nor the tables name a number."""
_TAKEN: Final = frozenset(
    {"cache_control", "effort", "service_tier", "stop", "temperature", "top_k", "top_p"}
)
_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
FAST_BETA: Final = "fast-mode-2026-02-01"
"""platform.claude.com/docs/en/build-with-claude/fast-mode: models without it refuse ``speed``."""
_LEAST_TOP_P: Final = 0.95
"""While thinking (platform.claude.com, extended thinking, "Feature compatibility")."""
_CACHE_HINTS: Final = ("prompt_cache_key", "prompt_cache_retention", "cache_control")
_ENCODER: Final = msgspec.json.Encoder()
_NULL: Final = Raw(b"null")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A body ready to send."""

    body: bytes
    betas: tuple[str, ...]
    """For the header ``anthropic-beta``, sorted."""
    warnings: tuple[str, ...]


def build_body(request: ChatRequest, target: Target) -> Built:
    """The body for one endpoint.

    Raises:
        FaultError: the conversation holds something that the API cannot take.
    """
    endpoint = target.endpoint
    warnings: list[str] = []
    betas: set[str] = set()
    conversation = read_conversation(request.body["messages"], warnings)
    tools = read_tools(request, warnings)
    form = read_answer_form(request)
    options = read_options(request)
    max_tokens = _max_tokens(request, endpoint, warnings)
    conversation = _fit_prefill(conversation, endpoint, warnings)
    thinking, effort = plan_thinking(
        request.reasoning,
        conversation,
        target,
        warnings,
        must_call=tools.must_call,
        max_tokens=max_tokens,
    )
    thinks = thinking is not None and thinking["type"] != "disabled"
    is_budgeted = thinking is not None and thinking["type"] == "enabled"
    wishes = plan_tools(
        tools,
        form,
        conversation,
        target,
        warnings,
        search=request.web_search,
        may_force=not is_budgeted,
    )
    body: dict[str, Any] = {"model": endpoint.provider_model, "max_tokens": max_tokens}
    system = [_system_block(part) for part in conversation.system]
    if wishes.instruction is not None:
        system.append({"type": "text", "text": wishes.instruction})
    messages = write_messages(
        conversation.turns, shows_thinking=thinks, betas=betas, warnings=warnings
    )
    contents = [block for message in messages for block in message["content"]]
    marked = with_marks(wishes.tools) + with_marks(system) + with_marks(contents)
    if marked:
        limit_cache_marks(marked, warnings)
    elif endpoint.capabilities.get("prompt_caching") is not False:
        _mark_for_cache(request.body, system, messages[-1]["content"])
    if system:
        body["system"] = system
    body["messages"] = messages
    if wishes.tools:
        body["tools"] = wishes.tools
    if wishes.tool_choice is not None:
        body["tool_choice"] = wishes.tool_choice
    if thinking is not None:
        body["thinking"] = thinking
    output: Block = {}
    effort = _answer_effort(request, endpoint, warnings) if effort is None else effort
    if effort is not None:
        output["effort"] = effort
    if wishes.output_format is not None:
        output["format"] = wishes.output_format
    if output:
        body["output_config"] = output
    _add_sampling(body, options, endpoint, warnings, thinks=thinks)
    _add_rest(body, request, options, endpoint, warnings)
    if body.get("speed") is not None:
        betas.add(FAST_BETA)
    warn_left_out(request, _TAKEN, endpoint.id, warnings)
    return Built(body=_ENCODER.encode(body), betas=tuple(sorted(betas)), warnings=tuple(warnings))


def _max_tokens(request: ChatRequest, endpoint: Endpoint, warnings: list[str]) -> int:
    most, asked = endpoint.max_output_tokens, request.max_output_tokens
    if asked is None:
        return most or UNKNOWN_MAX_TOKENS
    if most is not None and asked > most:
        warnings.append(f"`max_tokens` {asked} is more than {endpoint.id} writes; {most} was sent")
        return most
    return asked


def _fit_prefill(
    conversation: Conversation, endpoint: Endpoint, warnings: list[str]
) -> Conversation:
    """The beginning of an answer without space at its end, or closed where none is taken."""
    last = conversation.turns[-1]
    if not isinstance(last, AssistantTurn):
        return conversation
    if endpoint.capabilities.get("assistant_prefill") is False:
        warnings.append(
            f"{endpoint.id} does not go on from the beginning of an answer; the last message of "
            "the assistant is followed by an empty one of the user"
        )
        closing = UserTurn(parts=(TextPart(text=PLACEHOLDER),))
        return msgspec.structs.replace(conversation, turns=(*conversation.turns, closing))
    if not last.parts or not isinstance(last.parts[-1], TextPart):
        return conversation
    end = last.parts[-1]
    trimmed = msgspec.structs.replace(end, text=end.text.rstrip())
    last = msgspec.structs.replace(last, parts=(*last.parts[:-1], trimmed))
    return msgspec.structs.replace(conversation, turns=(*conversation.turns[:-1], last))


def _answer_effort(request: ChatRequest, endpoint: Endpoint, warnings: list[str]) -> str | None:
    """``effort``, where the model takes one and reasoning asks for none of its own."""
    wished = _text(request.body.get("effort", _NULL))
    if wished is None:
        return None
    efforts = endpoint.thinking.efforts if endpoint.thinking is not None else ()
    if wished not in efforts:
        warnings.append(left_out("effort", endpoint.id))
        return None
    return wished


def _system_block(part: TextPart) -> Block:
    block: Block = {"type": "text", "text": part.text}
    if part.cache is not None:
        block["cache_control"] = cache_control(part.cache)
    return block


def _mark_for_cache(sent: Mapping[str, Raw], system: list[Block], last: list[Block]) -> None:
    """Set two marks where the client only hints that a prompt comes again."""
    if not any(sent.get(name, _NULL) != _NULL for name in _CACHE_HINTS):
        return
    mark = cache_control(_hinted_mark(sent))
    if system:
        system[-1]["cache_control"] = mark
    if last and "thinking" not in last[-1]["type"]:
        last[-1]["cache_control"] = mark


def _hinted_mark(body: Mapping[str, Raw]) -> CacheMark:
    retention = bytes(body.get("prompt_cache_retention", _NULL))
    control = bytes(body.get("cache_control", _NULL))
    is_long = retention in {b'"24h"', b'"1h"'} or b'"1h"' in control
    return CacheMark(ttl="1h" if is_long else None)


def _add_sampling(
    body: dict[str, Any],
    options: Options,
    endpoint: Endpoint,
    warnings: list[str],
    *,
    thinks: bool,
) -> None:
    temperature, top_p, top_k = options.temperature, options.top_p, options.top_k
    capabilities = endpoint.capabilities
    if capabilities.get("temperature") is False or capabilities.get("sampling_params") is False:
        for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
            if value is not None:
                warnings.append(left_out(name, endpoint.id))
        return
    if temperature is not None and temperature > 1:
        warnings.append(f"`temperature` {temperature:g} is too high for {endpoint.id}; 1 was sent")
        temperature = 1.0
    if thinks:
        if temperature is not None and temperature != 1:
            warnings.append("`temperature` was left out: it does not go together with reasoning")
        if top_k is not None:
            warnings.append("`top_k` was left out: it does not go together with reasoning")
        temperature = top_k = None
        if top_p is not None and top_p < _LEAST_TOP_P:
            warnings.append("`top_p` was left out: with reasoning it must be at least 0.95")
            top_p = None
    if (
        temperature is not None
        and top_p is not None
        and capabilities.get("temperature_with_top_p") is False
    ):
        warnings.append(f"`top_p` was left out: {endpoint.id} takes it or `temperature`")
        top_p = None
    if temperature is not None:
        body["temperature"] = temperature
    if top_p is not None:
        body["top_p"] = top_p
    if top_k:
        body["top_k"] = top_k


def _add_rest(
    body: dict[str, Any],
    request: ChatRequest,
    options: Options,
    endpoint: Endpoint,
    warnings: list[str],
) -> None:
    if options.stop:
        body["stop_sequences"] = list(options.stop)
    asking = request.user or _text(request.body.get("safety_identifier", _NULL))
    if asking:
        body["metadata"] = {"user_id": hashed(asking)}
    if request.service_tier == FAST and FAST in endpoint.service_tiers:
        body["speed"] = FAST
    elif request.service_tier is not None:
        tier = _TIERS.get(request.service_tier)
        if tier is None:
            warnings.append(left_out("service_tier", endpoint.id))
        else:
            body["service_tier"] = tier
    if request.stream:
        body["stream"] = True


def _text(raw: Raw) -> str | None:
    value: object = msgspec.json.decode(raw)
    return value if isinstance(value, str) else None
