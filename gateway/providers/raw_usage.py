"""The usage objects of OpenAI-compatible services as they come, well typed or not."""

from typing import Any, cast

import msgspec
from msgspec import Raw


class Details(msgspec.Struct, kw_only=True, gc=False):
    """Parts of one side of the count."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    reasoning_tokens: int | None = None
    thinking_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class CacheCreation(msgspec.Struct, kw_only=True, gc=False):
    """Cache writes by how long they are kept."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class ServerTools(msgspec.Struct, kw_only=True, gc=False):
    """What the provider ran itself."""

    web_search_requests: int | None = None


class RawUsage(msgspec.Struct, kw_only=True, gc=False):
    """Every count that some service reports, under its own name; None where it was not sent."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    input_tokens_details: Details | None = None
    output_tokens_details: Details | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    prompt_cache_miss_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerTools | None = None
    citation_tokens: int | None = None
    num_search_queries: int | None = None
    num_sources_used: int | None = None
    cost_in_usd_ticks: int | None = None
    is_byok: bool | None = None
    cost: Raw = Raw()


_STRICT = msgspec.json.Decoder(RawUsage)
_LARGEST_FLOAT = 1e15


def decode_raw_usage(raw: Raw | bytes) -> tuple[RawUsage | None, bool]:
    """The counts, and whether they had to be read leniently; None for what is no usage at all."""
    try:
        return _STRICT.decode(raw), False
    except (msgspec.DecodeError, RecursionError):
        return _decode_leniently(raw), True


def _decode_leniently(raw: Raw | bytes) -> RawUsage | None:
    """Counts written as text or fractions, as far as they make sense; None for other things."""
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    members = cast("dict[str, Any]", value)
    cost = members.pop("cost", None)
    cleaned: dict[str, Any] = {}
    for name, member in members.items():
        if name == "is_byok":
            cleaned[name] = member is True
        elif isinstance(member, dict):
            inner = cast("dict[str, Any]", member)
            cleaned[name] = {key: to_whole_number(number) for key, number in inner.items()}
        elif name not in _NESTED:
            cleaned[name] = to_whole_number(member)
    try:
        typed = msgspec.convert(cleaned, RawUsage)
    except msgspec.ValidationError:
        return None
    if cost is not None:
        typed.cost = Raw(msgspec.json.encode(cost))
    return typed


_NESTED = frozenset(name for name in RawUsage.__struct_fields__ if name.endswith("_details")) | {
    "cache_creation",
    "server_tool_use",
}


def to_whole_number(value: object) -> int | None:
    """A count that was written as text or as a fraction; None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return round(value) if abs(value) < _LARGEST_FLOAT else int(_LARGEST_FLOAT)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:  # noqa: PLR2004
        return int(value)
    return None
