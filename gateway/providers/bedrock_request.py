"""Our request -> the body that Amazon Bedrock's Converse accepts for one endpoint.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from typing import Any, Final

import msgspec

from gateway.chat.request import ChatRequest
from gateway.providers import bedrock_thinking
from gateway.providers.base import Target
from gateway.providers.bedrock_content import Block, ContentWriter, settle_cache_points
from gateway.providers.bedrock_families import Family, family_of, put
from gateway.providers.bedrock_thinking import ThinkingPlan, reasoning_blocks
from gateway.providers.bedrock_tools import plan_tools
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
    Conversation,
    TextPart,
    Turn,
    UserTurn,
)
from pricing.endpoint import Endpoint

UNKNOWN_MAX_TOKENS: Final = 4096
"""What every model can write; budgets for thinking are measured by it where nobody names one."""
_TAKEN: Final = frozenset({"temperature", "top_p", "top_k", "stop", "service_tier"})
# `auto` and `default` are what is had without asking.
_TIERS: Final = {"auto": None, "default": None, "flex": "flex", "priority": "priority"} | {
    "reserved": "reserved"
}
_ENCODER: Final = msgspec.json.Encoder()


def build_body(request: ChatRequest, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The body for one endpoint, and warnings about what was left out.

    Raises:
        FaultError: the conversation holds something that the endpoint cannot take.
    """
    endpoint = target.endpoint
    family = family_of(endpoint)
    warnings: list[str] = []
    conversation = read_conversation(request.body["messages"], warnings)
    conversation = _fit_prefill(conversation, endpoint, warnings)
    tools = read_tools(request, warnings)
    options = read_options(request)
    limit = _limit(request, endpoint, warnings)
    thinking = bedrock_thinking.plan(
        request.reasoning,
        family,
        conversation,
        target,
        warnings,
        must_call=tools.must_call,
        max_tokens=limit or endpoint.max_output_tokens or UNKNOWN_MAX_TOKENS,
    )
    wishes = plan_tools(
        tools,
        read_answer_form(request),
        conversation,
        endpoint,
        warnings,
        family=family,
        may_force=not thinking.forbids_forcing,
    )
    writer = ContentWriter(family, endpoint.id, warnings)
    system = writer.system(conversation.system)
    if wishes.instruction is not None:
        system.append({"text": wishes.instruction})
    messages = [_message(turn, writer, family, thinking) for turn in conversation.turns]
    settle_cache_points(
        [wishes.tools, system, *(message["content"] for message in messages)],
        allowed=endpoint.capabilities.get("prompt_caching") is True,
    )
    if system and endpoint.capabilities.get("system_messages") is False:
        messages[0]["content"] = [*(b for b in system if "text" in b), *messages[0]["content"]]
        system = []
    body: Block = {"messages": messages}
    if system:
        body["system"] = system
    fields = dict(thinking.fields)
    config = _inference_config(
        options, limit, endpoint, thinking, warnings, family=family, fields=fields
    )
    if config:
        body["inferenceConfig"] = config
    if wishes.tools:
        choice = {} if wishes.tool_choice is None else {"toolChoice": wishes.tool_choice}
        body["toolConfig"] = {"tools": wishes.tools} | choice
    if wishes.text_format is not None:
        body["outputConfig"] = {"textFormat": wishes.text_format}
    if fields:
        body["additionalModelRequestFields"] = fields
    _add_tier(body, request, endpoint, warnings)
    if request.web_search is not None:
        warnings.append(
            f"no web search by {endpoint.id}, which is not known to have one here "
            f"(asked for by `{request.web_search.asked_by[0]}`)"
        )
    warn_left_out(request, _TAKEN, endpoint.id, warnings)
    return _ENCODER.encode(body), tuple(warnings)


def _limit(request: ChatRequest, endpoint: Endpoint, warnings: list[str]) -> int | None:
    """The largest answer that is asked for; None leaves it to the model."""
    most, asked = endpoint.max_output_tokens, request.max_output_tokens
    if asked is not None and most is not None and asked > most:
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
    text = last.parts[-1] if last.parts else None
    takes_it = endpoint.capabilities.get("assistant_prefill") is True
    if takes_it and not last.calls and isinstance(text, TextPart):
        text = TextPart(text=text.text.rstrip(), cache=text.cache)
        last = msgspec.structs.replace(last, parts=(*last.parts[:-1], text))
        return msgspec.structs.replace(conversation, turns=(*conversation.turns[:-1], last))
    warnings.append(
        f"{endpoint.id} is not known to go on from the beginning of an answer; the last message of "
        "the assistant is followed by an empty one of the user"
    )
    closing = UserTurn(parts=(TextPart(text=PLACEHOLDER),))
    return msgspec.structs.replace(conversation, turns=(*conversation.turns, closing))


def _message(turn: Turn, writer: ContentWriter, family: Family, thinking: ThinkingPlan) -> Block:
    if isinstance(turn, UserTurn):
        results = [block for result in turn.results for block in writer.result(result)]
        return {"role": "user", "content": results + writer.user(turn.parts)}
    content = reasoning_blocks(turn, family) if thinking.is_on else []
    content += writer.assistant(turn.parts)
    content += [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}
        for call in turn.calls
    ]
    return {"role": "assistant", "content": content or [{"text": PLACEHOLDER}]}


def _inference_config(
    options: Options,
    limit: int | None,
    endpoint: Endpoint,
    thinking: ThinkingPlan,
    warnings: list[str],
    *,
    family: Family,
    fields: dict[str, Any],
) -> dict[str, Any]:
    """``inferenceConfig``; what only the family has a word for goes into ``fields``."""
    config: dict[str, Any] = {}
    if thinking.forbids_limit:
        limit = None
    elif limit is None and thinking.forbids_forcing:
        # A budget must be below the limit, so that the limit is told.
        limit = endpoint.max_output_tokens or UNKNOWN_MAX_TOKENS
    if limit is not None:
        config["maxTokens"] = limit
    sampling = _sampling(options, endpoint, thinking, warnings)
    if "temperature" in sampling:
        config["temperature"] = sampling["temperature"]
    if "top_p" in sampling:
        config["topP"] = sampling["top_p"]
    if "top_k" in sampling:
        if family.top_k:
            put(fields, family.top_k, sampling["top_k"])
        else:
            warnings.append(left_out("top_k", endpoint.id))
    if options.stop:
        if endpoint.capabilities.get("stop") is False:
            warnings.append(left_out("stop", endpoint.id))
        else:
            config["stopSequences"] = list(options.stop)
    return config


def _sampling(
    options: Options, endpoint: Endpoint, thinking: ThinkingPlan, warnings: list[str]
) -> dict[str, float]:
    """What may be sent of temperature, top_p and top_k."""
    asked = {
        name: value
        for name in ("temperature", "top_p", "top_k")
        if (value := getattr(options, name)) is not None
    }
    capabilities = endpoint.capabilities
    takes_none = (
        capabilities.get("temperature") is False or capabilities.get("sampling_params") is False
    )
    if takes_none:
        warnings.extend(left_out(name, endpoint.id) for name in asked)
        return {}
    if thinking.forbids_sampling and asked:
        warnings.append(
            f"{', '.join(f'`{name}`' for name in asked)} left out: not together with reasoning"
        )
        return {}
    if asked.get("temperature", 0) > 1:
        warnings.append(
            f"`temperature` {asked['temperature']:g} is too high for {endpoint.id}; 1 was sent"
        )
        asked["temperature"] = 1.0
    takes_one = capabilities.get("temperature_with_top_p") is False and "temperature" in asked
    if takes_one and asked.pop("top_p", None) is not None:
        warnings.append(f"`top_p` was left out: {endpoint.id} takes it or `temperature`")
    if asked.get("top_k") == 0:
        del asked["top_k"]
    return asked


def _add_tier(
    body: dict[str, Any], request: ChatRequest, endpoint: Endpoint, warnings: list[str]
) -> None:
    asked = request.service_tier
    if asked is None:
        return
    if asked not in _TIERS:
        warnings.append(left_out("service_tier", endpoint.id))
    elif (tier := _TIERS[asked]) is not None:
        body["serviceTier"] = {"type": tier}
