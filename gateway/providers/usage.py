"""Usage objects of OpenAI-compatible services -> disjoint meters.

What differs between services is where they put things: reasoning inside the completion (OpenAI) or
beside it (xAI, Perplexity) or only in the total (Gemini), cached tokens under half a dozen names.
Where a total is given it decides. A number that cannot be true is rejected or clamped, and what
comes of it is marked as doubtful; a number that is missing is not a zero.
"""

from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Raw

from gateway.providers.bedrock_usage import decode_converse_usage
from gateway.providers.cohere_usage import decode_cohere_usage
from gateway.providers.raw_usage import CacheCreation, Details, RawUsage, decode_raw_usage
from pricing.usage import Usage

USAGE_FLAVOURS = frozenset(
    {
        "openai",
        "deepseek",
        "xai",
        "moonshot",
        "mistral",
        "gemini",
        "perplexity",
        "openrouter",
        "anthropic",
        "bedrock",
        "cohere",
    }
)
"""Known flavours; any other is read as ``openai``."""

_MOST_TOKENS = 1_000_000_000
_REASONING_OUTSIDE = frozenset({"xai", "gemini"})
_CACHE_OUTSIDE = frozenset({"anthropic", "bedrock"})
_DECODERS = {"bedrock": decode_converse_usage, "cohere": decode_cohere_usage}
"""Flavours whose object has other names altogether."""
# One US dollar is 10^10 ticks (docs.x.ai, usage.cost_in_usd_ticks).
_TICK_EXPONENT = -10
_DETAILS = ("accepted_prediction_tokens", "rejected_prediction_tokens")


class Metered(msgspec.Struct, frozen=True, kw_only=True):
    """What one usage object says."""

    usage: Usage | None = None
    """None when nothing usable was reported."""
    is_doubtful: bool = False
    details: dict[str, int] = {}
    reported_cost_usd: Decimal | None = None


_AMOUNT = msgspec.json.Decoder(Decimal | None)
_EMPTY = Details()


class _PerplexityCost(msgspec.Struct, kw_only=True):
    total_cost: Decimal | None = None


_PERPLEXITY_COST = msgspec.json.Decoder(_PerplexityCost | None)


def normalise_usage(raw: Raw | bytes | None, flavour: str = "openai") -> Metered:
    """Disjoint meters from a usage object as it came.

    Never raises: what cannot be read yields no usage, marked doubtful. ``null``, an absent object
    and an empty one yield no usage, without doubt.
    """
    if raw is None or bytes(raw) == b"null":
        return Metered()
    typed, is_doubtful = _DECODERS.get(flavour, decode_raw_usage)(raw)
    if typed is None:
        return Metered(is_doubtful=True)
    count = UsageCounter()
    usage, details = _to_usage(typed, flavour, count)
    cost, is_cost_usable = _reported_cost(typed, flavour)
    return Metered(
        usage=usage,
        is_doubtful=is_doubtful or count.is_doubtful or not is_cost_usable,
        details=details,
        reported_cost_usd=cost,
    )


class UsageCounter:
    """Clamps counts and remembers whether it had to."""

    __slots__ = ("is_doubtful",)
    MOST: Final = _MOST_TOKENS

    def __init__(self) -> None:
        self.is_doubtful = False

    def total(self, *counts: int | None) -> int | None:
        """The first count that is given; None when it cannot be true."""
        for count in counts:
            if count is None:
                continue
            if 0 <= count <= _MOST_TOKENS:
                return count
            self.is_doubtful = True
            return None
        return None

    def part(self, whole: int, *counts: int | None) -> int:
        """The first count that is given, as a part of a whole; 0 when none is."""
        for count in counts:
            if count is None:
                continue
            if 0 <= count <= whole:
                return count
            self.is_doubtful = True
            return min(max(count, 0), whole)
        return 0


def _to_usage(
    raw: RawUsage, flavour: str, count: UsageCounter
) -> tuple[Usage | None, dict[str, int]]:
    prompt = count.total(raw.prompt_tokens, raw.input_tokens, _hits_and_misses(raw))
    completion = count.total(raw.completion_tokens, raw.output_tokens)
    total = count.total(raw.total_tokens)
    if prompt is None and completion is None:
        return None, {}
    read = raw.prompt_tokens_details or raw.input_tokens_details or _EMPTY
    written = raw.completion_tokens_details or raw.output_tokens_details or _EMPTY
    if prompt is None or completion is None:
        prompt, completion = _complete(prompt, completion, total, count)
    prompt_meters = _prompt_meters(raw, read, prompt, flavour, count)
    completion_meters = _completion_meters(
        raw, written, (prompt, completion, total), flavour, count
    )
    details = {
        name: number
        for name in _DETAILS
        if (number := getattr(written, name)) is not None and 0 <= number <= _MOST_TOKENS
    }
    return Usage(**prompt_meters, **completion_meters, **_fees(raw, flavour, count)), details


def _hits_and_misses(raw: RawUsage) -> int | None:
    if raw.prompt_cache_hit_tokens is None or raw.prompt_cache_miss_tokens is None:
        return None
    return raw.prompt_cache_hit_tokens + raw.prompt_cache_miss_tokens


def _complete(
    prompt: int | None, completion: int | None, total: int | None, count: UsageCounter
) -> tuple[int, int]:
    """Both sides where only one is given: the total tells the other, which is 0 without it."""
    known = prompt if prompt is not None else completion or 0
    other = count.part(_MOST_TOKENS, (total - known) if total is not None else None)
    if total is None:
        count.is_doubtful = True
    return (known, other) if prompt is not None else (other, known)


def _prompt_meters(
    raw: RawUsage, details: Details, prompt: int, flavour: str, count: UsageCounter
) -> dict[str, int]:
    creation = raw.cache_creation
    hourly = creation.ephemeral_1h_input_tokens if creation is not None else None
    if flavour in _CACHE_OUTSIDE:
        # Anthropic counts cached tokens beside input_tokens, not inside.
        cached = count.part(_MOST_TOKENS, raw.cache_read_input_tokens)
        written = count.part(_MOST_TOKENS, raw.cache_creation_input_tokens, _sum_of(creation))
        in_an_hour = count.part(written, hourly)
        return {
            "input_tokens": prompt,
            "cache_read_tokens": cached,
            "cache_write_tokens": written - in_an_hour,
            "cache_write_1h_tokens": in_an_hour,
        }
    cached = count.part(
        prompt,
        details.cached_tokens,
        raw.prompt_cache_hit_tokens,
        raw.cached_tokens,
        raw.cache_read_input_tokens,
    )
    written = count.part(
        prompt - cached,
        details.cache_write_tokens,
        details.cache_creation_tokens,
        raw.cache_creation_input_tokens,
    )
    in_an_hour = count.part(written, hourly)
    audio = count.part(prompt, details.audio_tokens)
    # Audio may be among the cached tokens: what does not fit beside them must be.
    cached_audio = max(0, min(cached, audio - (prompt - cached - written)))
    return {
        "input_tokens": max(0, prompt - cached - written - (audio - cached_audio)),
        "cache_read_tokens": cached - cached_audio,
        "cache_write_tokens": written - in_an_hour,
        "cache_write_1h_tokens": in_an_hour,
        "audio_input_tokens": min(audio - cached_audio, prompt - cached - written),
        "audio_cache_read_tokens": cached_audio,
    }


def _sum_of(creation: CacheCreation | None) -> int | None:
    """All writes, where only their parts are told."""
    if creation is None:
        return None
    return (creation.ephemeral_5m_input_tokens or 0) + (creation.ephemeral_1h_input_tokens or 0)


def _completion_meters(
    raw: RawUsage,
    details: Details,
    totals: tuple[int, int, int | None],
    flavour: str,
    count: UsageCounter,
) -> dict[str, int]:
    prompt, completion, total = totals
    reasoning = count.part(
        _MOST_TOKENS, details.reasoning_tokens, details.thinking_tokens, raw.reasoning_tokens
    )
    if flavour == "gemini" and not reasoning and total is not None:
        reasoning = max(0, total - prompt - completion)
    if reasoning and _is_outside(reasoning, prompt, completion, total, flavour):
        completion += reasoning
    elif reasoning > completion:
        count.is_doubtful = True
        reasoning = completion
    audio = count.part(completion - reasoning, details.audio_tokens)
    image = count.part(completion - reasoning - audio, details.image_tokens)
    return {
        "output_tokens": completion - reasoning - audio - image,
        "reasoning_tokens": reasoning,
        "audio_output_tokens": audio,
        "image_output_tokens": image,
    }


def _is_outside(
    reasoning: int, prompt: int, completion: int, total: int | None, flavour: str
) -> bool:
    """Whether reasoning is counted beside the completion: the total decides, else the flavour."""
    if flavour == "perplexity":
        # Its total leaves reasoning out altogether, so that it cannot decide (docs.perplexity.ai).
        return True
    if total == prompt + completion:
        return False
    if total == prompt + completion + reasoning:
        return True
    return flavour in _REASONING_OUTSIDE


def _fees(raw: RawUsage, flavour: str, count: UsageCounter) -> dict[str, int]:
    tools = raw.server_tool_use
    searches = count.part(
        _MOST_TOKENS,
        raw.num_search_queries,
        raw.num_sources_used if flavour == "xai" else None,
        tools.web_search_requests if tools is not None else None,
    )
    citations = count.part(_MOST_TOKENS, raw.citation_tokens) if flavour == "perplexity" else 0
    return {"requests": 1, "web_searches": searches, "citation_tokens": citations}


def _reported_cost(raw: RawUsage, flavour: str) -> tuple[Decimal | None, bool]:
    """The provider's own figure in USD, and False when there is one that cannot be true."""
    cost: Decimal | None = None
    if raw.cost_in_usd_ticks is not None:
        cost = Decimal(raw.cost_in_usd_ticks).scaleb(_TICK_EXPONENT)
    elif len(memoryview(raw.cost)) == 0:
        return None, True
    else:
        try:
            if flavour == "openrouter":
                # With the caller's own key, `cost` is only the fee on top of the provider's bill.
                cost = None if raw.is_byok else _AMOUNT.decode(raw.cost)
            elif flavour == "perplexity":
                reported = _PERPLEXITY_COST.decode(raw.cost)
                cost = reported.total_cost if reported is not None else None
        except (msgspec.DecodeError, RecursionError):
            return None, False
    if cost is None:
        return None, True
    if not cost.is_finite() or not 0 <= cost <= _MOST_TOKENS:
        return None, False
    return cost, True
