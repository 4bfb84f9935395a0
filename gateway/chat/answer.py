"""Answers on the wire: whole ones, and the chunks of a stream.

The provider's choices are passed on as bytes; everything around them is ours. Members come in this
order: id, object, created, model, provider, choices, the provider's further ones, usage, metadata.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw

DONE = b"data: [DONE]\n\n"
OWN_MEMBERS = frozenset(
    {"id", "object", "created", "model", "provider", "choices", "usage", "metadata", "error"}
)
"""Top-level members that a provider's own ones never replace."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_ERROR_CHOICES = b'[{"index":0,"delta":{"content":""},"finish_reason":%b}]'


def _head(id: str, object_name: str, created: int, model: str, provider: str) -> bytes:  # noqa: A002
    encode = _ENCODER.encode
    return b'{"id":%b,"object":"%b","created":%d,"model":%b,"provider":%b,"choices":' % (
        encode(id),
        object_name.encode(),
        created,
        encode(model),
        encode(provider),
    )


def render_completion(
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
    """A whole answer.

    Args:
        id: the generation id.
        created: Unix seconds.
        model: the canonical model that answered.
        provider: who served it.
        choices: the JSON array of choices.
        usage: what `render_usage` made.
        metadata: what `render_metadata` made.
        extras: further members of the provider's answer; those of ours win.
        service_tier: as served; None when the provider does not say.
    """
    parts = [_head(id, "chat.completion", created, model, provider), choices]
    if extras:
        parts.append(render_extras(extras))
    if service_tier is not None and not (extras and "service_tier" in extras):
        parts.append(b',"service_tier":' + _ENCODER.encode(service_tier))
    parts += (b',"usage":', usage, b',"metadata":', metadata, b"}")
    return b"".join(parts)


def render_extras(extras: Mapping[str, Raw]) -> bytes:
    """Members as ``,"name":value`` pairs ready to append, without those that are ours."""
    return b"".join(
        b",%b:%b" % (_ENCODER.encode(name), bytes(raw))
        for name, raw in extras.items()
        if name not in OWN_MEMBERS
    )


def render_echo(upstream_body: bytes) -> bytes:
    """The extras of a chunk that shows what a provider was sent, as JSON without secrets."""
    return b',"debug":{"echo_upstream_body":%b}' % upstream_body


class Frame(Protocol):
    """Puts the parts of one streamed answer into the form that its client reads."""

    done: bytes
    """What ends the stream; empty where its last event says so itself."""

    def chunk(self, choices: bytes, extras: bytes = b"") -> bytes:
        """One chunk; ``extras`` are ``,"name":value`` pairs."""
        ...

    def echo(self, upstream_body: bytes) -> bytes:
        """What a provider was sent, for callers who asked to be shown it."""
        ...

    def with_usage(self, choices: bytes, extras: bytes, usage: bytes, metadata: bytes) -> bytes:
        """The chunk that closes the accounts; ``choices`` may be ``[]``."""
        ...

    def error(
        self,
        message: str,
        kind: str,
        code: str | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        finish_reason: str = "error",
    ) -> bytes:
        """An error after the stream has begun; ``kind`` is the OpenAI dialect's ``error.type``."""
        ...


class ChunkFrame:
    """What stands around the choices of every chunk of one stream, made once."""

    __slots__ = ("_prefix",)

    done = DONE

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        created: int,
        model: str,
        provider: str,
        prompt_tokens: int = 0,
    ) -> None:
        """Make the frame; the arguments are those of `render_completion`.

        ``prompt_tokens`` has no place in this form.
        """
        del prompt_tokens
        self._prefix = b"data: " + _head(id, "chat.completion.chunk", created, model, provider)

    def chunk(self, choices: bytes, extras: bytes = b"") -> bytes:
        """One event; ``extras`` are ``,"name":value`` pairs."""
        return self._prefix + choices + extras + b"}\n\n"

    def echo(self, upstream_body: bytes) -> bytes:
        """The event that shows what a provider was sent; it holds no choices."""
        return self.chunk(b"[]", render_echo(upstream_body))

    def with_usage(self, choices: bytes, extras: bytes, usage: bytes, metadata: bytes) -> bytes:
        """The event that closes the accounts; ``choices`` may be ``[]``."""
        return b"".join(
            (
                self._prefix,
                choices,
                extras,
                b',"usage":',
                usage,
                b',"metadata":',
                metadata,
                b"}\n\n",
            )
        )

    def error(
        self,
        message: str,
        kind: str,
        code: str | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        finish_reason: str = "error",
    ) -> bytes:
        """An event that the official clients raise on: an error beside a choice that ended so.

        ``kind`` is the OpenAI dialect's ``error.type``.
        """
        error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": code}
        if metadata:
            error["metadata"] = metadata
        choices = _ERROR_CHOICES % _ENCODER.encode(finish_reason)
        return b"".join((self._prefix, choices, b',"error":', _ENCODER.encode(error), b"}\n\n"))
