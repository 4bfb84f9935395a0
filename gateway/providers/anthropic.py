"""The adapter for Anthropic's Messages API, as Anthropic and those who host Claude speak it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.chat.request import ChatRequest
from gateway.providers.anthropic_answer import parse_answer
from gateway.providers.anthropic_request import build_body
from gateway.providers.anthropic_stream import AnthropicStreamDecoder
from gateway.providers.base import Completion, Fault, StreamDecoder, Target, UpstreamRequest
from gateway.providers.refusals import make_fault, parse_error_body
from gateway.providers.translation.parts import bad

VERSION: Final = "2023-06-01"
"""platform.claude.com/docs/en/api/versioning; newer features are switched on by betas."""


class AnthropicAdapter:
    """Speaks ``POST {base_url}/messages``."""

    def __init__(self, *, user_agent: str) -> None:
        """Make the adapter; ``user_agent`` goes into every request."""
        self._user_agent = user_agent

    def build_request(self, request: ChatRequest, target: Target, secret: str) -> UpstreamRequest:
        """The request for one endpoint; an empty ``secret`` sends no credential.

        Raises:
            FaultError: the conversation holds something that the API cannot take.
        """
        try:
            built = build_body(request, target)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            # What is only carried was never read before, such as the inside of a schema.
            raise bad("messages", f"or `tools` cannot be read: {exc}"[:256]) from exc
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream" if request.stream else "application/json"),
            # Compressed streams are held back until a block is full, and may be bombs.
            ("Accept-Encoding", "identity"),
            ("User-Agent", self._user_agent),
            ("anthropic-version", VERSION),
            *target.quirks.extra_headers,
        ]
        if built.betas:
            headers.append(("anthropic-beta", ",".join(built.betas)))
        if secret:
            headers.append(("x-api-key", secret))
        return UpstreamRequest(
            method="POST",
            url=f"{target.base_url}/messages",
            headers=headers,
            body=built.body,
            warnings=built.warnings,
        )

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Completion:
        """A complete 2xx answer.

        Raises:
            FaultError: it is not an answer, or an error in disguise.
        """
        return parse_answer(status, headers, body, target)

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Fault:
        """Classify any other answer. Never raises."""
        return make_fault(
            status,
            headers,
            parse_error_body(body),
            provider=target.endpoint.provider,
            upstream_id=headers.get("request-id"),
        )

    def open_stream(self, target: Target) -> StreamDecoder:
        """A decoder for one streamed answer."""
        return AnthropicStreamDecoder(target)
