"""Usage and cost as clients read them: every name of the published APIs, from one computation.

Prompt tokens include what was read from and written to a cache, completion tokens include
reasoning. Of the money, input is the uncached part alone, so that the parts add up to the total.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Raw

from pricing.cost import Cost, group_lines, sum_known
from pricing.usage import Usage

MaybeUsd: TypeAlias = Annotated[
    Raw,
    Meta(
        description="Exact USD; null where it is not known.",
        extra_json_schema={"type": ["number", "null"]},
    ),
]

_PART_OF_METER: Mapping[str, str] = {
    "input_tokens": "input_usd",
    "audio_input_tokens": "input_usd",
    "image_input_tokens": "input_usd",
    "video_input_tokens": "input_usd",
    "citation_tokens": "input_usd",
    "cache_read_tokens": "cached_input_usd",
    "audio_cache_read_tokens": "cached_input_usd",
    "cache_write_tokens": "cache_write_usd",
    "cache_write_1h_tokens": "cache_write_usd",
    "output_tokens": "output_usd",
    "reasoning_tokens": "output_usd",
    "audio_output_tokens": "output_usd",
    "image_output_tokens": "output_usd",
    "images": "output_usd",
    "requests": "request_usd",
    "web_searches": "web_search_usd",
}
_MOST_DECIMALS = 12


class CostParts(msgspec.Struct, frozen=True, kw_only=True):
    """A cost in the six parts that clients are told; None is unknown, never 0."""

    total_usd: Decimal | None = None
    input_usd: Decimal | None = None
    output_usd: Decimal | None = None
    cached_input_usd: Decimal | None = None
    cache_write_usd: Decimal | None = None
    request_usd: Decimal | None = None
    web_search_usd: Decimal | None = None


def to_cost_parts(cost: Cost | None) -> CostParts:
    """Group a cost's lines.

    The parts are None when they would not add up to the total, as when a provider reports another
    total than the lines make.
    """
    if cost is None or cost.total_usd is None:
        return CostParts()
    parts = group_lines(cost, _PART_OF_METER, otherwise="input_usd")
    return CostParts(total_usd=cost.total_usd, **parts)


def to_json_number(amount: Decimal | None) -> str:
    """An amount as a JSON number, no exponent, at most 12 decimals; ``null`` for None."""
    if amount is None:
        return "null"
    if not amount:
        return "0"
    text = format(amount, "f")
    _, point, decimals = text.partition(".")
    if not point:
        return text
    if len(decimals) > _MOST_DECIMALS:
        text = format(round(amount, _MOST_DECIMALS), "f")
    return text.rstrip("0").rstrip(".")


def usd(amount: Decimal | None) -> Raw:
    """An amount as a JSON number without exponent; ``null`` for None."""
    return Raw(to_json_number(amount).encode())


def render_usage(
    usage: Usage | None,
    cost: Cost | None,
    *,
    is_estimated: bool = False,
    details: Mapping[str, int] | None = None,
    is_byok: bool = False,
) -> bytes:
    """The ``usage`` object; ``null`` when neither usage nor cost is known.

    Args:
        usage: None when nothing was metered: the counts are then ``null``.
        cost: None, or a cost without a total, when the price is unknown.
        is_estimated: the counts are ours, not the provider's.
        details: further counts for ``completion_tokens_details``, as the provider gave them
            (``accepted_prediction_tokens`` …).
        is_byok: the credential was the caller's own, whom the provider bills: ``cost``, what the
            gateway's operator spent, is 0.
    """
    if usage is None and cost is None:
        return b"null"
    parts = to_cost_parts(cost)
    # Each amount is written once, however often it is named.
    total, output = to_json_number(parts.total_usd), to_json_number(parts.output_usd)
    counts = _render_counts(usage, details) if usage is not None else _UNKNOWN_COUNTS
    status = cost.status if cost is not None else "unpriced"
    estimated = ',"is_estimated":true' if is_estimated else ""
    return (
        f'{{{counts},"cost":{0 if is_byok else total},'
        f'"is_byok":{"true" if is_byok else "false"},"cost_details":{{'
        f'"upstream_inference_cost":{total},'
        f'"upstream_inference_prompt_cost":{to_json_number(_prompt_usd(parts))},'
        f'"upstream_inference_completions_cost":{output}}},'
        f'"cost_usd_total":{total},"cost_usd_input":{to_json_number(parts.input_usd)},'
        f'"cost_usd_output":{output},'
        f'"cost_usd_cached_input":{to_json_number(parts.cached_input_usd)},'
        f'"cost_usd_cache_write":{to_json_number(parts.cache_write_usd)},'
        f'"cost_usd_request":{to_json_number(parts.request_usd)},'
        f'"cost_usd_web_search":{to_json_number(parts.web_search_usd)},'
        f'"cost_status":"{status}"{estimated}}}'
    ).encode()


def _prompt_usd(parts: CostParts) -> Decimal | None:
    return sum_known(parts.input_usd, parts.cached_input_usd, parts.cache_write_usd)


def _render_counts(usage: Usage, details: Mapping[str, int] | None) -> str:
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    read = usage.cache_read_tokens + usage.audio_cache_read_tokens
    written = usage.cache_write_tokens + usage.cache_write_1h_tokens
    audio_in = usage.audio_input_tokens + usage.audio_cache_read_tokens
    more = "".join(f',"{name}":{count}' for name, count in (details or {}).items())
    if usage.image_output_tokens:
        more += f',"image_tokens":{usage.image_output_tokens}'
    return (
        f'"prompt_tokens":{prompt},"completion_tokens":{completion},'
        f'"total_tokens":{prompt + completion},'
        f'"prompt_tokens_details":{{"cached_tokens":{read},"cache_write_tokens":{written},'
        f'"audio_tokens":{audio_in}}},'
        f'"completion_tokens_details":{{"reasoning_tokens":{usage.reasoning_tokens},'
        f'"audio_tokens":{usage.audio_output_tokens}{more}}},'
        f'"reasoning_tokens":{usage.reasoning_tokens},'
        f'"cache_read_input_tokens":{read},"cache_creation_input_tokens":{written}'
    )


_UNKNOWN_COUNTS = (
    '"prompt_tokens":null,"completion_tokens":null,"total_tokens":null,'
    '"prompt_tokens_details":null,"completion_tokens_details":null,"reasoning_tokens":null,'
    '"cache_read_input_tokens":null,"cache_creation_input_tokens":null'
)
