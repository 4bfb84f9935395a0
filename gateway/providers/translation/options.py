"""The small parameters of a request as typed values, and what to say of those left out."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway.chat.fields import FIELDS
from gateway.chat.request import ChatRequest

_NULL: Final = Raw(b"null")
_HANDLED_ELSEWHERE: Final = frozenset(
    field.name for field in FIELDS if field.handling in {"kept", "refused"}
) | {
    "include_reasoning",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "store",
    "stream",
    "stream_options",
    "tool_choice",
    "tools",
    "user",
    "web_search",
    "web_search_options",
}
"""Members that are ours, that translators read otherwise, or that nobody misses."""


class Options(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Sampling and the like; None where the request does not say."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stop: tuple[str, ...] = ()
    """Without blank ones, which several services refuse."""
    verbosity: str | None = None
    modalities: tuple[str, ...] = ()


_TYPES: Final[Mapping[str, Any]] = {
    "temperature": msgspec.json.Decoder(float),
    "top_p": msgspec.json.Decoder(float),
    "top_k": msgspec.json.Decoder(int),
    "seed": msgspec.json.Decoder(int),
    "frequency_penalty": msgspec.json.Decoder(float),
    "presence_penalty": msgspec.json.Decoder(float),
    "logprobs": msgspec.json.Decoder(bool),
    "top_logprobs": msgspec.json.Decoder(int),
    "verbosity": msgspec.json.Decoder(str),
    "modalities": msgspec.json.Decoder(tuple[str, ...]),
}
_STOP: Final = msgspec.json.Decoder(str | list[str])


def read_options(request: ChatRequest) -> Options:
    """The parameters that are present; their ranges were checked when the request came."""
    body = request.body
    found: dict[str, Any] = {
        name: decoder.decode(raw)
        for name, decoder in _TYPES.items()
        if (raw := body.get(name, _NULL)) != _NULL
    }
    stop = body.get("stop", _NULL)
    if stop != _NULL:
        value = _STOP.decode(stop)
        texts = [value] if isinstance(value, str) else value
        found["stop"] = tuple(text for text in texts if text.strip())
    return Options(**found)


def warn_left_out(
    request: ChatRequest, taken: Collection[str], endpoint_id: str, warnings: list[str]
) -> None:
    """Say which parameters the protocol has no word for.

    ``taken`` are the names of members that the translator conveys, or warns of itself.
    """
    for name, raw in request.body.items():
        if name in _HANDLED_ELSEWHERE or name in taken or raw == _NULL:
            continue
        if name == "n" and request.choice_count == 1:
            continue
        warnings.append(left_out(name, endpoint_id))


def left_out(name: str, endpoint_id: str) -> str:
    """The warning about a parameter that an endpoint does not support."""
    return f"`{name}` is not supported by {endpoint_id} and was left out"
