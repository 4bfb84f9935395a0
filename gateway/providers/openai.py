"""The OpenAI-compatible adapter: chat completions as OpenAI and those who copied it speak them."""

from collections.abc import Mapping

from gateway.chat.request import ChatRequest
from gateway.providers.base import Completion, Fault, StreamDecoder, Target, UpstreamRequest
from gateway.providers.openai_answer import parse_answer
from gateway.providers.openai_request import build_body
from gateway.providers.openai_stream import OpenAIStreamDecoder
from gateway.providers.refusals import make_fault, parse_error_body

USER_AGENT = "tollway"


class OpenAIAdapter:
    """Speaks ``POST {base_url}/chat/completions``."""

    def __init__(self, *, user_agent: str = USER_AGENT) -> None:
        """Make the adapter; ``user_agent`` goes into every request."""
        self._user_agent = user_agent

    def build_request(self, request: ChatRequest, target: Target, secret: str) -> UpstreamRequest:
        """The request for one endpoint; an empty ``secret`` sends no credential."""
        quirks = target.quirks
        body, warnings = build_body(request, target)
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream" if request.stream else "application/json"),
            # Compressed streams are held back until a block is full, and may be bombs.
            ("Accept-Encoding", "identity"),
            ("User-Agent", self._user_agent),
            *quirks.extra_headers,
        ]
        if secret:
            headers.append((quirks.auth_header, quirks.auth_prefix + secret))
        return UpstreamRequest(
            method="POST",
            url=f"{target.base_url}/chat/completions",
            headers=headers,
            body=body,
            warnings=warnings,
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
            status, headers, parse_error_body(body), provider=target.endpoint.provider
        )

    def open_stream(self, target: Target) -> StreamDecoder:
        """A decoder for one streamed answer."""
        return OpenAIStreamDecoder(target)
