"""What is read of a Messages request. The rest of its members is carried as it came.

The forms are those of platform.claude.com/docs/en/api/messages; block types that are added there
later are refused by name in `turns.py` rather than passed on half understood.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

Name = Annotated[str, Meta(min_length=1, max_length=128)]
ShortText = Annotated[str, Meta(min_length=1, max_length=256)]
Share = Annotated[float, Meta(ge=0, le=1)]


ABSENT = Raw()
"""What a member is that was not sent; a union with None would not take any value."""


class CacheControl(msgspec.Struct, kw_only=True, gc=False):
    """Where a prompt cache may end."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Source(msgspec.Struct, kw_only=True, gc=False):
    """Where an image or a document comes from."""

    type: Literal["base64", "url", "text", "file", "content"]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct, kw_only=True, gc=False):
    """One block of content, of any type."""

    type: str
    text: str | None = None
    source: Source | str | None = None
    cache_control: CacheControl | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = ABSENT
    tool_use_id: str | None = None
    content: "str | list[Block] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    title: str | None = None
    context: str | None = None


class Turn(msgspec.Struct, kw_only=True, gc=False):
    """One message."""

    role: Literal["user", "assistant"]
    content: str | list[Block]


class MessagesTool(msgspec.Struct, kw_only=True, gc=False):
    """A tool of the client's own, or one of Anthropic's by its dated type."""

    name: Name
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Raw] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    max_uses: Annotated[int, Meta(ge=1, le=100)] | None = None
    user_location: Raw = ABSENT
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None


class MessagesToolChoice(msgspec.Struct, kw_only=True, gc=False):
    """Which tools the model may or must use."""

    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, kw_only=True, gc=False):
    """How much the model thinks before it answers."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1024)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class Format(msgspec.Struct, kw_only=True, gc=False):
    """A schema that the answer must fit."""

    type: Literal["json_schema"]
    schema: dict[str, Raw]


class OutputConfig(msgspec.Struct, kw_only=True, gc=False):
    """How hard the model works, and the form of its answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class Metadata(msgspec.Struct, kw_only=True, gc=False):
    """Who the request is made for."""

    user_id: ShortText | None = None


class MessagesView(msgspec.Struct, kw_only=True, gc=False):
    """A request, as far as it is read."""

    messages: Annotated[list[Turn], Meta(min_length=1)]
    model: ShortText | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2_147_483_647)]
    system: str | list[Block] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=2_147_483_647)] | None = None
    tools: Annotated[list[MessagesTool], Meta(max_length=1024)] | None = None
    tool_choice: MessagesToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["standard", "fast"] | None = None


class CountView(MessagesView, kw_only=True, gc=False):
    """What is counted: the same, where nothing is to be answered."""

    max_tokens: Annotated[int, Meta(ge=1, le=2_147_483_647)] = 1


READ = frozenset(MessagesView.__struct_fields__)
"""Members that have a meaning of their own here; all others are carried to the chat request."""

VIEW = msgspec.json.Decoder(MessagesView)
COUNT_VIEW = msgspec.json.Decoder(CountView)
