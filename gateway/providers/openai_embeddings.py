"""The OpenAI-compatible wire for embeddings, in the shape that the attempt loop asks for."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway.chat.embeddings import upstream_body
from gateway.chat.request import ChatRequest
from gateway.domain.outcomes import Outcome
from gateway.providers.base import (
    Completion,
    Fault,
    FaultError,
    StreamDecoder,
    Target,
    UpstreamRequest,
)
from gateway.providers.openai_answer import bad_response, fault_of_raw, is_error, text_of
from gateway.providers.refusals import make_fault, parse_error_body
from gateway.providers.usage import normalise_usage

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_DATA = msgspec.json.Decoder(list[dict[str, Raw]])
_LEFT_OUT = frozenset({"object", "data", "model", "usage", "id", "error", "created", "provider"})


class OpenAIEmbeddings:
    """Speaks ``POST {base_url}/embeddings``."""

    def __init__(self, *, user_agent: str) -> None:
        """Make the adapter; ``user_agent`` goes into every request."""
        self._user_agent = user_agent

    def build_request(self, request: ChatRequest, target: Target, secret: str) -> UpstreamRequest:
        """The request for one endpoint; an empty ``secret`` sends no credential."""
        quirks = target.quirks
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", self._user_agent),
            *quirks.extra_headers,
        ]
        if secret:
            headers.append((quirks.auth_header, quirks.auth_prefix + secret))
        return UpstreamRequest(
            method="POST",
            url=f"{target.base_url}/embeddings",
            headers=headers,
            body=upstream_body(request, target.endpoint.provider_model),
        )

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Completion:
        """A complete 2xx answer.

        Raises:
            FaultError: it holds no embeddings.
        """
        del headers
        try:
            members = _MEMBERS.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise FaultError(bad_response(target, status, "something that is not JSON")) from exc
        error = members.get("error")
        if error is not None and is_error(error):
            raise FaultError(fault_of_raw(error, target, status=status))
        data = members.get("data", Raw(b"[]"))
        try:
            has_any = bool(_DATA.decode(data))
        except (msgspec.DecodeError, RecursionError) as exc:
            raise FaultError(bad_response(target, status, "unreadable embeddings")) from exc
        if not has_any:
            raise FaultError(bad_response(target, status, "no embeddings"))
        metered = normalise_usage(members.get("usage"), target.quirks.usage_flavour)
        return Completion(
            choices=bytes(data),
            extras={name: raw for name, raw in members.items() if name not in _LEFT_OUT},
            usage=metered.usage,
            is_usage_doubtful=metered.is_doubtful,
            usage_details=metered.details,
            reported_cost_usd=metered.reported_cost_usd,
            upstream_id=text_of(members.get("id")),
            upstream_model=text_of(members.get("model")),
        )

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Fault:
        """Classify any other answer. Never raises."""
        return make_fault(
            status, headers, parse_error_body(body), provider=target.endpoint.provider
        )

    def open_stream(self, target: Target) -> StreamDecoder:
        """There are no streams of embeddings.

        Raises:
            FaultError: always.
        """
        raise FaultError(
            Fault(
                outcome=Outcome.GATEWAY_ERROR,
                message=f"{target.endpoint.id} was asked for a stream of embeddings",
            )
        )
