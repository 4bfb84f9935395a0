"""Converse's usage object, read into the form that all usage objects are counted from."""

from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from gateway.providers.raw_usage import CacheCreation, RawUsage, to_whole_number


class _CacheDetail(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    ttl: str = "5m"
    input_tokens: int = 0


class _TokenUsage(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[_CacheDetail] | None = None


_STRICT: Final = msgspec.json.Decoder(_TokenUsage)
_COUNTS: Final = (
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
)


def decode_converse_usage(raw: Raw | bytes) -> tuple[RawUsage | None, bool]:
    """The counts, and whether they had to be read leniently; None for what is no usage at all.

    ``inputTokens`` leaves out what came from the cache and what went into it, as with Anthropic;
    ``cacheDetails`` say how much was written for how long.
    """
    try:
        typed, is_lenient = _STRICT.decode(raw), False
    except (msgspec.DecodeError, RecursionError):
        typed, is_lenient = _decode_leniently(raw), True
    if typed is None:
        return None, is_lenient
    written = typed.cache_write_input_tokens
    details = typed.cache_details or ()
    if written is None and details:
        written = sum(detail.input_tokens for detail in details)
    hourly = sum(detail.input_tokens for detail in details if detail.ttl == "1h")
    return (
        RawUsage(
            input_tokens=typed.input_tokens,
            output_tokens=typed.output_tokens,
            total_tokens=typed.total_tokens,
            cache_read_input_tokens=typed.cache_read_input_tokens,
            cache_creation_input_tokens=written,
            cache_creation=CacheCreation(ephemeral_1h_input_tokens=hourly) if hourly else None,
        ),
        is_lenient,
    )


def _decode_leniently(raw: Raw | bytes) -> _TokenUsage | None:
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    members = cast("dict[str, Any]", value)
    return msgspec.convert(
        {name: to_whole_number(members.get(name)) for name in _COUNTS}, _TokenUsage
    )
