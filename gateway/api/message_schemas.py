"""What answers and errors of the Messages API look like, for the published document alone."""

from typing import Any, Literal

import msgspec

from gateway.api.wire import MaybeUsd
from gateway.chat.messages_api.view import MessagesView
from gateway.chat.routing_report import AnswerMetadata


class MessagesRequest(MessagesView, kw_only=True):
    """A Messages request. The members of chat that concern routing are understood as well."""

    models: list[str] | None = None
    provider: dict[str, Any] | None = None
    session_id: str | None = None


class ServerToolUse(msgspec.Struct, kw_only=True):
    """What the provider's own tools did."""

    web_search_requests: int


class CacheCreation(msgspec.Struct, kw_only=True):
    """Tokens written to a prompt cache, by how long they are kept."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class MessageUsage(msgspec.Struct, kw_only=True):
    """Counts that exclude each other, and the cost; null is unknown, never 0."""

    input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None
    output_tokens: int | None
    cost_usd_total: MaybeUsd
    cost_usd_input: MaybeUsd
    cost_usd_output: MaybeUsd
    cost_usd_cached_input: MaybeUsd
    cost_usd_cache_write: MaybeUsd
    cost_usd_request: MaybeUsd
    cost_usd_web_search: MaybeUsd
    cost_status: Literal["exact", "upper_bound", "estimated", "unpriced"]
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    is_estimated: bool = False


class AnswerBlock(msgspec.Struct, kw_only=True):
    """One block of the answer: text, thinking, redacted_thinking or tool_use."""

    type: Literal["text", "thinking", "redacted_thinking", "tool_use"]
    text: str | None = None
    citations: list[dict[str, Any]] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None


class MessageAnswer(msgspec.Struct, kw_only=True):
    """A whole answer; ``provider`` and ``metadata`` say who answered, and what happened before."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[AnswerBlock]
    stop_reason: Literal["end_turn", "max_tokens", "tool_use", "refusal"] | None
    stop_sequence: str | None
    usage: MessageUsage | None
    provider: str
    metadata: AnswerMetadata
    service_tier: str | None = None


class MessageEvent(msgspec.Struct, kw_only=True):
    """One event of a stream; exact usage and cost are in ``message_delta``."""

    type: Literal[
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    ]
    index: int | None = None
    message: dict[str, Any] | None = None
    content_block: AnswerBlock | None = None
    delta: dict[str, Any] | None = None
    usage: MessageUsage | None = None
    metadata: AnswerMetadata | None = None
    error: dict[str, Any] | None = None


class AnthropicErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong."""

    type: str
    message: str
    param: str | None
    code: str | None
    metadata: dict[str, Any] = {}


class AnthropicError(msgspec.Struct, kw_only=True):
    """An error under …/messages."""

    type: Literal["error"]
    error: AnthropicErrorBody
    request_id: str | None
