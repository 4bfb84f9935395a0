"""A whole answer in the form of the Messages API."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.chat.messages_api.said import (
    CHOICES,
    Choice,
    Function,
    Said,
    as_object,
    signature_of,
    to_stop_reason,
)
from gateway.chat.messages_api.signatures import to_signature

_ENCODER = msgspec.json.Encoder()
_NOTHING = Choice()


def render_message(
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
    """A whole answer; the arguments are those of `render_completion`.

    ``provider`` and ``metadata`` are ours: who answered, and every attempt on the way.
    """
    del created, extras
    choice = next(iter(CHOICES.decode(choices)), _NOTHING)
    message: dict[str, Any] = {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": _blocks(choice.message or Said()),
        "stop_reason": to_stop_reason(choice.finish_reason),
        "stop_sequence": None,
        "usage": Raw(usage),
        "provider": provider,
        "metadata": Raw(metadata),
    }
    if service_tier is not None:
        message["service_tier"] = service_tier
    return _ENCODER.encode(message)


def _blocks(said: Said) -> list[dict[str, Any]]:
    blocks = _thoughts(said)
    text = said.content or said.refusal
    if text:
        block: dict[str, Any] = {"type": "text", "text": text}
        citations = to_citations(said)
        if citations:
            block["citations"] = citations
        blocks.append(block)
    for call in said.tool_calls or ():
        function = call.function or Function()
        blocks.append(
            {
                "type": "tool_use",
                "id": call.id or "",
                "name": function.name or "",
                "input": as_object(function.arguments),
            }
        )
    return blocks


def _thoughts(said: Said) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for detail in said.reasoning_details or ():
        if detail.data is not None:
            data = to_signature(detail.format, detail.data)
            blocks.append({"type": "redacted_thinking", "data": data})
            continue
        text = detail.text if detail.text is not None else detail.summary
        if text is not None or detail.signature is not None:
            blocks.append(
                {
                    "type": "thinking",
                    "thinking": text or "",
                    "signature": signature_of(detail) or "",
                }
            )
    if not blocks and said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": ""})
    return blocks


def to_citations(said: Said) -> list[dict[str, Any]]:
    """The pages that an answer rests on, as locations of a web search."""
    return [
        {
            "type": "web_search_result_location",
            "url": note.url_citation.url,
            "title": note.url_citation.title,
            "cited_text": "",
            "encrypted_index": "",
        }
        for note in said.annotations or ()
        if note.url_citation is not None and note.url_citation.url
    ]
