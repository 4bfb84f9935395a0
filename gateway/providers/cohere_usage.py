"""Cohere's usage object, which tells apart what was billed and what the model saw.

https://docs.cohere.com/reference/chat: `billed_units` is what is charged for; `tokens` also counts
what Cohere adds by itself. Its compatible API answers with OpenAI's object instead.
"""

from typing import Final

import msgspec
from msgspec import Raw

from gateway.providers.raw_usage import RawUsage, ServerTools, decode_raw_usage


class _Units(msgspec.Struct, kw_only=True, gc=False):
    input_tokens: float | None = None
    output_tokens: float | None = None
    search_units: float | None = None


class _Cohere(msgspec.Struct, kw_only=True, gc=False):
    billed_units: _Units | None = None
    cached_tokens: float | None = None


_DECODER: Final = msgspec.json.Decoder(_Cohere)


def decode_cohere_usage(raw: Raw | bytes) -> tuple[RawUsage | None, bool]:
    """The counts that are billed, and whether they had to be read leniently."""
    try:
        units = _DECODER.decode(raw).billed_units
    except (msgspec.DecodeError, RecursionError):
        units = None
    if units is None:
        return decode_raw_usage(raw)
    searches = _whole(units.search_units)
    typed = RawUsage(
        input_tokens=_whole(units.input_tokens),
        output_tokens=_whole(units.output_tokens) or 0,
        server_tool_use=ServerTools(web_search_requests=searches) if searches else None,
    )
    return typed, False


def _whole(units: float | None) -> int | None:
    """Cohere writes counts as fractions (``12.0``)."""
    return None if units is None else round(min(max(units, -1), 1e15))
