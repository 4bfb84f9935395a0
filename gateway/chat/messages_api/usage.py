"""Usage as Messages clients read it: counts that exclude each other, with the cost beside them."""

from collections.abc import Mapping

from gateway.chat.usage_report import to_cost_parts, to_json_number
from pricing.cost import Cost
from pricing.usage import Usage

_UNKNOWN_COUNTS = (
    '"input_tokens":null,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,'
    '"output_tokens":null'
)


def render_messages_usage(
    usage: Usage | None,
    cost: Cost | None,
    *,
    is_estimated: bool = False,
    details: Mapping[str, int] | None = None,
) -> bytes:
    """The ``usage`` object; the arguments are those of `render_usage`.

    ``input_tokens`` leaves out what was read from or written to a cache, and ``output_tokens``
    includes reasoning, as at Anthropic.
    """
    del details
    parts = to_cost_parts(cost)
    status = cost.status if cost is not None else "unpriced"
    estimated = ',"is_estimated":true' if is_estimated else ""
    return (
        f"{{{_UNKNOWN_COUNTS if usage is None else _counts(usage)},"
        f'"cost_usd_total":{to_json_number(parts.total_usd)},'
        f'"cost_usd_input":{to_json_number(parts.input_usd)},'
        f'"cost_usd_output":{to_json_number(parts.output_usd)},'
        f'"cost_usd_cached_input":{to_json_number(parts.cached_input_usd)},'
        f'"cost_usd_cache_write":{to_json_number(parts.cache_write_usd)},'
        f'"cost_usd_request":{to_json_number(parts.request_usd)},'
        f'"cost_usd_web_search":{to_json_number(parts.web_search_usd)},'
        f'"cost_status":"{status}"{estimated}}}'
    ).encode()


def _counts(usage: Usage) -> str:
    read = usage.cache_read_tokens + usage.audio_cache_read_tokens
    short, long = usage.cache_write_tokens, usage.cache_write_1h_tokens
    searches = (
        f',"server_tool_use":{{"web_search_requests":{usage.web_searches}}}'
        if usage.web_searches
        else ""
    )
    return (
        f'"input_tokens":{usage.prompt_tokens - read - short - long},'
        f'"cache_creation_input_tokens":{short + long},"cache_read_input_tokens":{read},'
        f'"cache_creation":{{"ephemeral_5m_input_tokens":{short},'
        f'"ephemeral_1h_input_tokens":{long}}},'
        f'"output_tokens":{usage.completion_tokens}{searches}'
    )
