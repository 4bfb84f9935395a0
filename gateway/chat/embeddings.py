"""Embedding requests and their answers: OpenAI's, with routing preferences and the cost added.

A request is read into the same value as a chat request, so that the attempt loop serves both.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from gateway.chat.answer import render_extras
from gateway.chat.complaints import malformed_json, wrong_value
from gateway.chat.dialects import Dialect
from gateway.chat.flat_preferences import PREFIX, read_preferences
from gateway.chat.offending import fault_of
from gateway.chat.request import ChatRequest
from gateway.chat.structure import check_members_are_unique, check_size_of_structure
from gateway.domain.errors import InvalidRequestError

BYTES_PER_TOKEN = 4

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()
_KEPT = frozenset({"model", "provider", "models"})


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a body; all other members are carried."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[str | int | list[int] | dict[str, Raw]], Meta(min_length=1)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


_REQUEST = msgspec.json.Decoder(EmbeddingRequest)


def decode_embedding_request(body: bytes, *, dialect: Dialect) -> ChatRequest:
    """Read one request.

    Raises:
        InvalidRequestError: names the field and what it should be.
    """
    try:
        return _decode(body, dialect)
    except InvalidRequestError as error:
        if dialect is Dialect.FASTAPI:
            error.fault = fault_of(error, body)
        raise


def _decode(body: bytes, dialect: Dialect) -> ChatRequest:
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(
            f"The body is not valid UTF-8 at byte {exc.start}.", code="json_invalid"
        ) from exc
    check_size_of_structure(body)
    try:
        members = _MEMBERS.decode(body)
        check_members_are_unique(body, members)
        read = _REQUEST.decode(body)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc) from exc
    except msgspec.DecodeError as exc:
        raise malformed_json(exc) from exc
    except RecursionError as exc:
        raise InvalidRequestError(
            "The body is nested too deeply; flatten it.", code="too_complex"
        ) from exc
    warnings: list[str] = []
    size, tokens = _weigh(read)
    return ChatRequest(
        dialect=dialect,
        body={
            name: raw
            for name, raw in members.items()
            if name not in _KEPT and not name.startswith(PREFIX)
        },
        models=(read.model,),
        provider=read_preferences(members),
        prompt_bytes=size,
        prompt_tokens_estimate=tokens,
        max_output_tokens=0,
        user=read.user,
        warnings=tuple(warnings),
    )


def _weigh(read: EmbeddingRequest) -> tuple[int, int]:
    """Bytes of text and estimated tokens; whatever comes as tokens counts as it stands."""
    if isinstance(read.input, str):
        size = len(read.input.encode())
        return size, -(-size // BYTES_PER_TOKEN)
    size = tokens = 0
    for item in read.input:
        if isinstance(item, str):
            size += len(item.encode())
        elif isinstance(item, int):
            tokens += 1
        elif isinstance(item, list):
            tokens += len(item)
    return size, tokens + -(-size // BYTES_PER_TOKEN)


def render_embeddings(
    *,
    id: str,  # noqa: A002
    created: int,
    model: str,
    provider: str,
    choices: bytes,
    usage: bytes,
    metadata: bytes,
    extras: Mapping[str, Raw] | None = None,
    service_tier: str | None = None,
) -> bytes:
    """A whole answer; ``choices`` is the JSON array of embeddings, the rest as for chat."""
    del service_tier
    encode = _ENCODER.encode
    return b"".join(
        (
            b'{"id":%b,"object":"list","created":%d,"model":%b,"provider":%b,"data":'
            % (encode(id), created, encode(model), encode(provider)),
            choices,
            render_extras(extras) if extras else b"",
            b',"usage":',
            usage,
            b',"metadata":',
            metadata,
            b"}",
        )
    )


def upstream_body(request: ChatRequest, provider_model: str) -> bytes:
    """What an OpenAI-compatible provider is sent."""
    members: dict[str, Any] = {"model": provider_model, **request.body}
    return _ENCODER.encode(members)
