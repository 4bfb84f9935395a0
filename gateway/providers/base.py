"""The contract between the attempt loop and a wire protocol: four functions and their values."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.outcomes import Outcome
from pricing.catalogue import Endpoint
from pricing.usage import Usage

COMMON_SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority"})


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider's OpenAI-compatible wire differs: data, never a branch by name."""

    max_tokens_field: str = "max_tokens"
    """``max_completion_tokens`` where the service knows that one."""
    sends_stream_options: bool = True
    """False where ``stream_options`` is refused with a 400."""
    accepts_developer_role: bool = False
    usage_flavour: str = "openai"
    """How its usage object counts; see ``usage.py``."""
    refused_parameters: frozenset[str] = frozenset()
    """Dropped with a warning before sending."""
    refused_message_members: frozenset[str] = frozenset()
    """Taken out of messages: what other services answered with and clients send back."""
    accepts_reasoning_object: bool = False
    """OpenRouter's ``reasoning`` object is understood; elsewhere it becomes an effort."""
    accepts_cache_control: bool = False
    """Marks of Anthropic's prompt cache are understood; elsewhere they are taken out."""
    accepts_obfuscation: bool = False
    """``stream_options.include_obfuscation`` is understood."""
    accepts_allowed_tools: bool = False
    """The tool choice ``allowed_tools`` is understood; elsewhere the tools are narrowed."""
    takes_session_as_cache_key: bool = False
    """``prompt_cache_key`` routes to a warm cache; without one the session's hash is sent."""
    service_tiers: frozenset[str] | None = COMMON_SERVICE_TIERS
    """Those that may be asked for; None lets any word pass."""
    web_search_form: Literal["options", "plugin", "switch", "builtin", "none"] = "options"
    """How a search is asked for: ``web_search_options``, OpenRouter's plugin, ``enable_search``;
    ``builtin`` searches unasked, ``none`` cannot be asked over this wire."""
    web_search_model_mark: str = ""
    """Only models whose native name contains this search over this wire."""
    extra_headers: tuple[tuple[str, str], ...] = ()
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where one attempt goes: an endpoint of a provider as it is reached from here."""

    endpoint: Endpoint
    base_url: str
    """Without a trailing slash."""
    quirks: Quirks


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over the wire. ``headers`` carry the credential: never log this value."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    warnings: tuple[str, ...] = ()
    """Parameters that were dropped or clamped for this endpoint."""

    def __repr__(self) -> str:
        return f"UpstreamRequest({self.method} {self.url}, {len(self.body)} bytes)"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A failure of one attempt, classified."""

    outcome: Outcome
    message: str
    """Scrubbed and cut to 512 characters; fit for records and for clients."""
    status_code: int = 0
    code: str | None = None
    retry_after_ms: float | None = None
    """What the provider asked for; None when it said nothing."""
    upstream_id: str | None = None
    affordable_tokens: int | None = None
    """What the account's credit is enough for, where the provider said so: asked for less, it would
    answer."""


class FaultError(Exception):
    """Carries a fault from where it was seen to the attempt loop."""

    def __init__(self, fault: Fault) -> None:
        """Wrap a fault."""
        super().__init__(fault.message)
        self.fault = fault


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer in our chat shape."""

    choices: bytes
    """The JSON array of choices, with canonical finish reasons."""
    extras: dict[str, msgspec.Raw] = {}
    """Other top-level members worth passing on (``system_fingerprint`` …)."""
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    usage: Usage | None = None
    """None when the provider sent none; a reported zero stays zero."""
    is_usage_doubtful: bool = False
    """Counts were clamped or contradict each other: the cost is an estimate."""
    usage_details: dict[str, int] = {}
    """Further counts inside the completion, for clients only (``accepted_prediction_tokens`` …)."""
    reported_cost_usd: Decimal | None = None
    service_tier: str | None = None
    """As served, `fast` for Anthropic's speed of that name."""
    served_region: str | None = None
    """The provider's word for where it processed; None when it does not say."""
    upstream_id: str | None = None
    upstream_model: str | None = None
    text_bytes: int = 0
    """UTF-8 bytes that were generated, for an estimate where usage is missing."""


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step of a streamed answer. Usage is cumulative: a later one replaces an earlier one."""

    choices: bytes = b"[]"
    """The JSON array of chunk choices in our shape; ``[]`` when the event carries none."""
    has_content: bool = False
    """Text, reasoning, a refusal, audio, or a tool call: no other endpoint may answer any more."""
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    extras: bytes = b""
    """Further top-level members, encoded as ``,"name":value`` pairs ready to append."""
    usage: Usage | None = None
    prompt_usage: Usage | None = None
    """What went in, where that is counted before anything comes out: all that there is of usage
    when the answer is left unfinished."""
    is_usage_doubtful: bool = False
    usage_details: dict[str, int] = {}
    reported_cost_usd: Decimal | None = None
    service_tier: str | None = None
    served_region: str | None = None
    upstream_id: str | None = None
    text_bytes: int = 0
    is_terminal: bool = False
    """The protocol's own end marker was seen (``[DONE]``)."""
    fault: Fault | None = None
    """An error inside the stream; nothing after it counts."""


class StreamDecoder(Protocol):
    """Turns the bytes of one streamed answer into events, however they are cut."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes. Never raises: damage comes back as a fault."""
        ...

    def end(self) -> list[StreamEvent]:
        """What the end of the stream completes; a fault when the answer was cut off."""
        ...


class Adapter(Protocol):
    """One wire protocol."""

    def build_request(self, request: ChatRequest, target: Target, secret: str) -> UpstreamRequest:
        """The request for one endpoint; ``secret`` is the credential, empty when none is needed."""
        ...

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Completion:
        """A complete 2xx answer.

        Raises:
            FaultError: it is not an answer, or an error in disguise.
        """
        ...

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Fault:
        """Classify any other answer. Never raises, whatever the body is."""
        ...

    def open_stream(self, target: Target) -> StreamDecoder:
        """A decoder for one streamed answer."""
        ...
