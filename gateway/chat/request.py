"""A chat-completions request: what routing reads is typed, all the rest is carried as it came."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from gateway.chat.dialects import Dialect
from gateway.chat.preferences import AutoPreferences, ProviderPreferences
from gateway.chat.provider_configs import ProviderConfig
from gateway.chat.reasoning import Reasoning
from gateway.chat.web_search import WebSearch

Need = Literal[
    "tools",
    "custom_tools",
    "structured_outputs",
    "json_mode",
    "vision",
    "audio_input",
    "audio_output",
    "image_output",
    "pdf_input",
    "video_input",
    "logprobs",
    "web_search",
    "reasoning",
]
"""What the answer depends on: an endpoint that is known to lack one of these is excluded, never
used with the field dropped."""


class Signature(NamedTuple):
    """What a provider signed a tool call with."""

    format: str
    """Who made it; it is good there alone."""
    data: str


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, validated."""

    dialect: Dialect
    body: dict[str, msgspec.Raw]
    """The JSON object member by member, numbers and all exactly as typed. In one form for all:
    unions are unwrapped, functions are tools, searches are taken out of the tools; members that are
    null, and empty lists of tools or stops, are left out."""
    models: tuple[str, ...]
    """``model``, then ``models``, without repeats, as typed; empty when the request names none."""
    stream: bool = False
    include_usage: bool = False
    """``stream_options.include_usage``."""
    max_output_tokens: int | None = None
    """``max_completion_tokens``, else ``max_tokens``; None leaves it to the endpoint."""
    choice_count: int = 1
    """``n``."""
    provider: ProviderPreferences
    flat_preferences: frozenset[str] = frozenset()
    """Members of ``provider`` that came as ``provider_…``, and are called so in messages."""
    auto: AutoPreferences = AutoPreferences()
    """Only for names that let the gateway choose the model; sent with others it is refused."""
    needs: frozenset[Need] = frozenset()
    parameters: frozenset[str] = frozenset()
    """Names of the optional parameters that are present, for ``require_parameters``."""
    prompt_bytes: int
    """UTF-8 bytes of all text in messages and tools (data URLs not counted)."""
    image_count: int = 0
    names_addresses: bool = False
    """An image or a file is named by its address: whoever serves must be able to fetch it."""
    prompt_tokens_estimate: int
    """From the bytes; no tokenizer runs on the event loop."""
    reasoning: Reasoning | None = None
    """None leaves it to the endpoint."""
    web_search: WebSearch | None = None
    """None when no search is wanted. Searches cost money: only endpoints that are known to have one
    are asked for it."""
    provider_configs: tuple[ProviderConfig, ...] = ()
    """Providers that the request brings along, with addresses and credentials; when there are any,
    they alone serve."""
    remembered_signatures: Mapping[str, Signature] = {}
    """By call id, for calls whose signature the client may not have sent back."""
    uses_legacy_functions: bool = False
    """Sent ``functions`` or ``function_call``, and is answered in that form."""
    heals_response: bool = False
    """The plugin response-healing applies: a whole answer in JSON is wanted."""
    echo_upstream_body: bool = False
    """A stream shows what each provider was sent."""
    explains_plan: bool = False
    """``metadata.plan`` of the answer tells the decision in full."""
    service_tier: str | None = None
    user: str | None = None
    session_id: str | None = None
    prompt_cache_key: str | None = None
    """What shares a cache, as the caller sees it."""
    system_digest: bytes | None = None
    """Of the text of all system messages; None when there is none. Never stored as it is."""
    opening_digest: bytes | None = None
    """Of the system messages and the first user message: the same in every turn of a conversation.
    Never stored as it is."""
    labels: dict[str, str] = {}
    """``metadata``: the caller's own, for records; never the answer's ``metadata``."""
    warnings: tuple[str, ...] = ()
    """What was read leniently, for ``metadata.warnings``."""
