"""The Gemini adapter: generateContent as AI Studio and Vertex AI serve it."""

from collections.abc import Mapping
from urllib.parse import quote

from gateway.chat.request import ChatRequest
from gateway.providers.base import Completion, Fault, StreamDecoder, Target, UpstreamRequest
from gateway.providers.gemini_answer import parse_answer
from gateway.providers.gemini_errors import read_google_error
from gateway.providers.gemini_request import build_body, is_on_vertex
from gateway.providers.gemini_stream import GeminiStreamDecoder

USER_AGENT = "tollway"


class GeminiAdapter:
    """Speaks ``POST {base_url}/models/{model}:generateContent``, and its streaming twin.

    A base URL of Vertex AI ends with ``/publishers/google``; it takes an access token, AI Studio
    an API key. Neither ever stands in the address.
    """

    def __init__(self, *, user_agent: str = USER_AGENT) -> None:
        """Make the adapter; ``user_agent`` goes into every request."""
        self._user_agent = user_agent

    def build_request(self, request: ChatRequest, target: Target, secret: str) -> UpstreamRequest:
        """The request for one endpoint; an empty ``secret`` sends no credential."""
        built = build_body(request, target)
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream" if request.stream else "application/json"),
            # Compressed streams are held back until a block is full, and may be bombs.
            ("Accept-Encoding", "identity"),
            ("User-Agent", self._user_agent),
            *target.quirks.extra_headers,
            *built.headers,
        ]
        if secret and is_on_vertex(target):
            headers.append(("Authorization", f"Bearer {secret}"))
        elif secret:
            headers.append(("x-goog-api-key", secret))
        model = quote(target.endpoint.provider_model.removeprefix("models/"), safe="")
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return UpstreamRequest(
            method="POST",
            url=f"{target.base_url}/models/{model}:{method}",
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
        return read_google_error(status, headers, body, target.endpoint.provider)

    def open_stream(self, target: Target) -> StreamDecoder:
        """A decoder for one streamed answer."""
        return GeminiStreamDecoder(target)
