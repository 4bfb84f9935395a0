"""Our request -> the body that one OpenAI-compatible endpoint accepts.

Members are passed on byte for byte. What is ours (routing) is left out, what the endpoint is known
to refuse is dropped with a warning, and what differs from service to service is rewritten.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from gateway.chat.request import ChatRequest
from gateway.providers.base import Target

NEVER_FORWARDED: Final = frozenset(
    {
        "models",
        "route",
        "provider",
        "plugins",
        "session_id",
        "debug",
        "transforms",
        "free_models_only",
        "no_reasoning",
        "web_search",
        "usage",
    }
)
_REPLACED: Final = frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options"}
)
_SPECIAL: Final = _REPLACED | NEVER_FORWARDED | {"metadata", "reasoning"}

_CAPABILITY_OF_PARAMETER: Final[dict[str, tuple[str, ...]]] = {
    "temperature": ("temperature", "sampling_params"),
    "top_p": ("top_p", "sampling_params"),
    "top_k": ("top_k", "sampling_params"),
    "min_p": ("min_p", "sampling_params"),
    "frequency_penalty": ("frequency_penalty", "sampling_params"),
    "presence_penalty": ("presence_penalty", "sampling_params"),
    "repetition_penalty": ("repetition_penalty", "sampling_params"),
    "stop": ("stop",),
    "seed": ("seed",),
    "logit_bias": ("logit_bias",),
    "parallel_tool_calls": ("parallel_tool_calls",),
    "reasoning_effort": ("reasoning",),
    "reasoning": ("reasoning",),
    "service_tier": ("service_tier",),
    "verbosity": ("verbosity",),
    "prediction": ("prediction",),
    "prompt_cache_key": ("prompt_cache_key",),
}
"""Parameters that an endpoint can do without, by the capabilities that accept them."""

_TRUE: Final = Raw(b"true")
_NULL: Final = Raw(b"null")
_INCLUDE_USAGE: Final = Raw(b'{"include_usage":true}')
_EFFORTS_OF_BUDGET: Final = ((1024, "low"), (8192, "medium"))

_MESSAGES: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_DEVELOPER: Final = Raw(b'"developer"')
_SYSTEM: Final = Raw(b'"system"')
_ENCODER: Final = msgspec.json.Encoder()


class _Reasoning(msgspec.Struct, kw_only=True):
    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None
    exclude: bool | None = None


_REASONING: Final = msgspec.json.Decoder(_Reasoning)


def build_body(request: ChatRequest, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The body for one endpoint, and warnings about what was left out."""
    endpoint, quirks = target.endpoint, target.quirks
    sent = request.body
    warnings: list[str] = []
    body: dict[str, Raw] = {"model": Raw(_ENCODER.encode(endpoint.provider_model))}
    if "messages" in sent:
        body["messages"] = _messages(sent["messages"], target)
    for name, raw in sent.items():
        if name in _SPECIAL or raw == _NULL:
            continue
        if name in quirks.refused_parameters or _is_refused(name, endpoint.capabilities):
            warnings.append(f"`{name}` is not supported by {endpoint.id} and was left out")
            continue
        body[name] = raw
    if request.max_output_tokens is not None:
        body[quirks.max_tokens_field] = Raw(b"%d" % request.max_output_tokens)
    if "reasoning" in sent:
        _add_reasoning(body, sent["reasoning"], target, warnings)
    if "metadata" in sent and body.get("store") == _TRUE:
        body["metadata"] = sent["metadata"]
    if request.stream:
        body["stream"] = _TRUE
        if quirks.sends_stream_options:
            body["stream_options"] = _stream_options(sent.get("stream_options"))
    return _ENCODER.encode(body), tuple(warnings)


def _is_refused(name: str, capabilities: Mapping[str, bool]) -> bool:
    accepting = _CAPABILITY_OF_PARAMETER.get(name)
    return accepting is not None and any(
        capabilities.get(capability) is False for capability in accepting
    )


def _stream_options(sent: Raw | None) -> Raw:
    """Usage is always asked for: without it the cost could only be estimated."""
    if sent is None or sent == _NULL:
        return _INCLUDE_USAGE
    options = msgspec.json.decode(sent, type=dict[str, Raw])
    kept = {name: raw for name, raw in options.items() if raw != _NULL}
    kept["include_usage"] = _TRUE
    return Raw(_ENCODER.encode(kept))


def _messages(raw: Raw, target: Target) -> Raw:
    """Messages without what services refuse: nulls, the developer role, strangers' members."""
    text, quirks = bytes(raw), target.quirks
    renames = not quirks.accepts_developer_role and b'"developer"' in text
    refused = [name for name in quirks.refused_message_members if name.encode() in text]
    if not renames and not refused and b"null" not in text:
        return raw
    messages = _MESSAGES.decode(raw)
    for message in messages:
        for name in [
            name
            for name, value in message.items()
            if name in refused or (value == _NULL and name != "content")
        ]:
            del message[name]
        if renames and message.get("role") == _DEVELOPER:
            message["role"] = _SYSTEM
    return Raw(_ENCODER.encode(messages))


def _add_reasoning(body: dict[str, Raw], raw: Raw, target: Target, warnings: list[str]) -> None:
    if raw == _NULL:
        return
    endpoint, quirks = target.endpoint, target.quirks
    if "reasoning" in quirks.refused_parameters or _is_refused("reasoning", endpoint.capabilities):
        warnings.append(f"`reasoning` is not supported by {endpoint.id} and was left out")
        return
    if quirks.accepts_reasoning_object:
        body["reasoning"] = raw
        return
    reasoning = _REASONING.decode(raw)
    if reasoning.exclude:
        warnings.append("`reasoning.exclude` is not supported; reasoning is shown as it comes")
    effort = _effort(reasoning, body)
    if effort is not None and "reasoning_effort" not in quirks.refused_parameters:
        body["reasoning_effort"] = Raw(_ENCODER.encode(effort))


def _effort(reasoning: _Reasoning, body: Mapping[str, Raw]) -> str | None:
    """A word for the wish; a budget of tokens wins over an effort, as the published APIs say."""
    if reasoning.enabled is False:
        return "none"
    if reasoning.max_tokens is not None:
        for tokens, effort in _EFFORTS_OF_BUDGET:
            if reasoning.max_tokens <= tokens:
                return effort
        return "high"
    if reasoning.effort is not None:
        return reasoning.effort
    return "medium" if reasoning.enabled and "reasoning_effort" not in body else None
