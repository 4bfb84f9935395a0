"""Our request -> the body that one OpenAI-compatible endpoint accepts.

Members are passed on byte for byte. What is ours (routing) is left out, what the endpoint is known
to refuse is dropped with a warning, and what differs from service to service is rewritten.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from gateway.chat.fields import FIELDS
from gateway.chat.request import ChatRequest
from gateway.providers.base import Quirks, Target
from gateway.providers.openai_wishes import add_reasoning, add_web_search, narrow_tools

NEVER_FORWARDED: Final = frozenset(
    field.name for field in FIELDS if field.handling in {"kept", "refused"}
)
_REPLACED: Final = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "effort",
        "reasoning",
        "reasoning_effort",
        "include_reasoning",
        "web_search",
        "web_search_options",
        "metadata",
    }
)
_SPECIAL: Final = _REPLACED | NEVER_FORWARDED
_MAY_HOLD_NULLS: Final = frozenset({"tools", "response_format", "audio", "prediction"})
_FOR_THE_MODEL: Final = frozenset({"parameters", "schema"})
"""Inside a JSON schema a null may be meant."""

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
    "service_tier": ("service_tier",),
    "verbosity": ("verbosity",),
    "prediction": ("prediction",),
    "prompt_cache_key": ("prompt_cache_key",),
}
"""Parameters that an endpoint can do without, by the capabilities that accept them."""

_TRUE: Final = Raw(b"true")
_FALSE: Final = Raw(b"false")
_NULL: Final = Raw(b"null")
_INCLUDE_USAGE: Final = Raw(b'{"include_usage":true}')

_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_ITEMS: Final = msgspec.json.Decoder(list[Raw])
_MESSAGES: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_CACHE_MARK: Final = b'"cache_control"'
_DEVELOPER: Final = Raw(b'"developer"')
_SYSTEM: Final = Raw(b'"system"')
_ENCODER: Final = msgspec.json.Encoder()


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
        if (
            name in quirks.refused_parameters
            or _is_refused(name, endpoint.capabilities)
            or (name == "service_tier" and not _is_known_tier(request.service_tier, quirks))
        ):
            warnings.append(f"`{name}` is not supported by {endpoint.id} and was left out")
            continue
        body[name] = _without_nulls(raw) if name in _MAY_HOLD_NULLS else raw
        if name == "tools" and not quirks.accepts_cache_control and _CACHE_MARK in bytes(raw):
            body[name] = _without_marks(body[name])
    if request.max_output_tokens is not None:
        body[quirks.max_tokens_field] = Raw(b"%d" % request.max_output_tokens)
    add_reasoning(body, request, target, warnings)
    add_web_search(body, request, target, warnings)
    if "effort" in sent:
        warnings.append(f"`effort` is not supported by {endpoint.id} and was left out")
    if "tool_choice" in body and not quirks.accepts_allowed_tools:
        narrow_tools(body)
    if request.uses_legacy_functions and _can_call_one_by_one(body, endpoint.capabilities):
        body["parallel_tool_calls"] = _FALSE
    if quirks.takes_session_as_cache_key and request.session_id and "prompt_cache_key" not in body:
        body["prompt_cache_key"] = _cache_key(request.session_id)
    if "metadata" in sent and body.get("store") == _TRUE:
        body["metadata"] = sent["metadata"]
    if request.stream:
        body["stream"] = _TRUE
        if quirks.sends_stream_options:
            body["stream_options"] = _stream_options(sent.get("stream_options"), quirks)
    return _ENCODER.encode(body), tuple(warnings)


def _is_refused(name: str, capabilities: Mapping[str, bool]) -> bool:
    accepting = _CAPABILITY_OF_PARAMETER.get(name)
    return accepting is not None and any(
        capabilities.get(capability) is False for capability in accepting
    )


def _can_call_one_by_one(body: Mapping[str, Raw], capabilities: Mapping[str, bool]) -> bool:
    """The older form of an answer holds one call."""
    return (
        "tools" in body
        and "parallel_tool_calls" not in body
        and capabilities.get("parallel_tool_calls") is True
    )


def _is_known_tier(tier: str | None, quirks: Quirks) -> bool:
    return quirks.service_tiers is None or tier in quirks.service_tiers


def _cache_key(session_id: str) -> Raw:
    """What belongs together, without telling what it is called."""
    return Raw(b'"%b"' % hashlib.sha256(session_id.encode()).hexdigest()[:32].encode())


def _without_nulls(raw: Raw) -> Raw:
    """A member without the nulls that many services refuse; schemas stay as they are."""
    if b"null" not in bytes(raw):
        return raw
    return _strip(raw)


def _strip(raw: Raw) -> Raw:
    text = bytes(raw)
    if text[:1] == b"[":
        return Raw(_ENCODER.encode([_strip(item) for item in _ITEMS.decode(raw)]))
    if text[:1] != b"{":
        return raw
    kept = {
        name: value if name in _FOR_THE_MODEL else _strip(value)
        for name, value in _MEMBERS.decode(raw).items()
        if value != _NULL
    }
    return Raw(_ENCODER.encode(kept))


def _stream_options(sent: Raw | None, quirks: Quirks) -> Raw:
    """Usage is always asked for: without it the cost could only be estimated."""
    if sent is None or sent == _NULL:
        return _INCLUDE_USAGE
    options = _MEMBERS.decode(sent)
    kept = {name: raw for name, raw in options.items() if raw != _NULL}
    if not quirks.accepts_obfuscation:
        kept.pop("include_obfuscation", None)
    kept["include_usage"] = _TRUE
    return Raw(_ENCODER.encode(kept))


def _without_marks(raw: Raw) -> Raw:
    """A list of parts or tools without where a prompt cache may end."""
    if bytes(raw)[:1] != b"[":
        return raw
    items = _MESSAGES.decode(raw)
    for item in items:
        item.pop("cache_control", None)
    return Raw(_ENCODER.encode(items))


def _messages(raw: Raw, target: Target) -> Raw:
    """Messages without what services refuse: nulls, the developer role, strangers' members."""
    text, quirks = bytes(raw), target.quirks
    renames = not quirks.accepts_developer_role and b'"developer"' in text
    refused = [name for name in quirks.refused_message_members if name.encode() in text]
    if b'"is_error"' in text:
        # Anthropic's word for a tool that failed; a chat has none.
        refused.append("is_error")
    has_marks = not quirks.accepts_cache_control and _CACHE_MARK in text
    if has_marks:
        refused.append("cache_control")
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
        if has_marks and _CACHE_MARK in bytes(message.get("content", _NULL)):
            message["content"] = _without_marks(message["content"])
    return Raw(_ENCODER.encode(messages))
