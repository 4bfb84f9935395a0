"""The adapter for Amazon Bedrock's Converse and ConverseStream.

A secret is a Bedrock API key and goes out as a bearer token. Requests without one are signed, by
`gateway.execution.aws_signing`, once they are built: a signature needs the time.
"""

from collections.abc import Mapping
from urllib.parse import quote

from gateway.chat.request import ChatRequest
from gateway.providers.base import Completion, Fault, StreamDecoder, Target, UpstreamRequest
from gateway.providers.bedrock_answer import parse_answer
from gateway.providers.bedrock_errors import parse_error
from gateway.providers.bedrock_request import build_body
from gateway.providers.bedrock_stream import ConverseStreamDecoder

EVENT_STREAM = "application/vnd.amazon.eventstream"


class BedrockAdapter:
    """Speaks ``POST {base_url}/model/{id}/converse`` and ``…/converse-stream``."""

    def __init__(self, *, user_agent: str) -> None:
        """Make the adapter; ``user_agent`` goes into every request."""
        self._user_agent = user_agent

    def build_request(self, request: ChatRequest, target: Target, secret: str) -> UpstreamRequest:
        """The request for one endpoint; an empty ``secret`` leaves it to be signed.

        Raises:
            FaultError: the conversation holds something that the endpoint cannot take.
        """
        body, warnings = build_body(request, target)
        # Ids of profiles are ARNs: their colons and slashes are part of one segment of the path.
        model = quote(target.endpoint.provider_model, safe="")
        operation = "converse-stream" if request.stream else "converse"
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", EVENT_STREAM if request.stream else "application/json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", self._user_agent),
            *target.quirks.extra_headers,
        ]
        if secret:
            headers.append(("Authorization", f"Bearer {secret}"))
        return UpstreamRequest(
            method="POST",
            url=f"{target.base_url}/model/{model}/{operation}",
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
        return parse_error(status, headers, body, target.endpoint.provider)

    def open_stream(self, target: Target) -> StreamDecoder:
        """A decoder for one streamed answer."""
        return ConverseStreamDecoder(target)
