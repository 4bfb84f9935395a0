"""Turns into messages of Anthropic's Messages API: content blocks, calls, results, thinking.

Written from platform.claude.com/docs/en/api/messages and what its errors say.
"""

import base64
import binascii
import hashlib
from typing import Any, Final

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, FaultError
from gateway.providers.translation.turns import (
    PLACEHOLDER,
    AssistantTurn,
    AudioPart,
    CacheMark,
    Conversation,
    FilePart,
    ImagePart,
    Part,
    ReasoningDetail,
    TextPart,
    ToolResult,
    Turn,
    UserTurn,
    VideoPart,
)

Block = dict[str, Any]

REASONING_FORMAT: Final = "anthropic-claude-v1"
"""Tags details that Claude made. Anthropic, Bedrock and Vertex take each other's signatures."""
FILES_BETA: Final = "files-api-2025-04-14"
MOST_CACHE_MARKS: Final = 4
_IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF: Final = "application/pdf"


def merged_details(details: tuple[ReasoningDetail, ...]) -> list[ReasoningDetail]:
    """Details as they were made: a client may send back every piece of a stream by itself."""
    merged: list[ReasoningDetail] = []
    for detail in details:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.type == detail.type == "reasoning.text"
            and last.index == detail.index
            and last.signature is None
            and detail.index is not None
        ):
            merged[-1] = ReasoningDetail(
                type=last.type,
                text=(last.text or "") + (detail.text or ""),
                signature=detail.signature,
                id=last.id or detail.id,
                format=last.format or detail.format,
                index=last.index,
            )
        else:
            merged.append(detail)
    return merged


def thinking_blocks(turn: AssistantTurn) -> list[Block]:
    """What Claude thought in a turn, as it wants it back; empty when that is lost or another's."""
    blocks: list[Block] = []
    for detail in merged_details(turn.reasoning_details):
        if detail.format != REASONING_FORMAT:
            continue
        if detail.type == "reasoning.encrypted" and detail.data:
            blocks.append({"type": "redacted_thinking", "data": detail.data})
        elif detail.type == "reasoning.text" and detail.signature:
            blocks.append(
                {
                    "type": "thinking",
                    "thinking": detail.text or "",
                    "signature": detail.signature,
                }
            )
    return blocks


def lacks_thinking(conversation: Conversation) -> bool:
    """Whether a tool loop is under way whose last calls came without thinking that can be shown."""
    if not conversation.turns[conversation.begins_loop_at :]:
        return False
    last = next(
        (turn for turn in reversed(conversation.turns) if isinstance(turn, AssistantTurn)), None
    )
    return last is not None and bool(last.calls) and not thinking_blocks(last)


def write_messages(
    turns: tuple[Turn, ...], *, shows_thinking: bool, betas: set[str], warnings: list[str]
) -> list[Block]:
    """The ``messages``.

    Args:
        turns: from `read_conversation`.
        shows_thinking: thinking is on, so that earlier thinking goes with it.
        betas: receives the names of what the content needs switched on.
        warnings: receives what is left out.

    Raises:
        FaultError: a part is of a kind that the API does not take.
    """
    return [
        {"role": "user", "content": _user(turn, betas)}
        if isinstance(turn, UserTurn)
        else {
            "role": "assistant",
            "content": _assistant(turn, shows_thinking=shows_thinking, warnings=warnings),
        }
        for turn in turns
    ]


def _user(turn: UserTurn, betas: set[str]) -> list[Block]:
    return [
        *(_result(result, betas) for result in turn.results),
        *(_block(part, betas) for part in turn.parts),
    ]


def _assistant(turn: AssistantTurn, *, shows_thinking: bool, warnings: list[str]) -> list[Block]:
    blocks = thinking_blocks(turn) if shows_thinking else []
    texts = [_text(part) for part in turn.parts if isinstance(part, TextPart)]
    if len(texts) < len(turn.parts):
        warnings.append("images in messages of the assistant were left out")
        if not texts and not turn.calls:
            texts = [{"type": "text", "text": PLACEHOLDER}]
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in turn.calls
    ]
    return blocks + texts + calls


def _result(result: ToolResult, betas: set[str]) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": result.call_id}
    if result.parts:
        block["content"] = [_block(part, betas) for part in result.parts]
    if result.is_error:
        block["is_error"] = True
    return _marked(block, result.cache)


def _block(part: Part, betas: set[str]) -> Block:
    if isinstance(part, TextPart):
        return _text(part)
    if isinstance(part, ImagePart):
        return _marked({"type": "image", "source": _image_source(part)}, part.cache)
    if isinstance(part, FilePart):
        return _marked(_document(part, betas), part.cache)
    if isinstance(part, AudioPart):
        raise unsupported("audio in messages")
    assert isinstance(part, VideoPart)  # noqa: S101 - the last kind there is
    raise unsupported("videos in messages")


def _text(part: TextPart) -> Block:
    return _marked({"type": "text", "text": part.text}, part.cache)


def _marked(block: Block, cache: CacheMark | None) -> Block:
    if cache is not None:
        block["cache_control"] = cache_control(cache)
    return block


def cache_control(mark: CacheMark) -> dict[str, str]:
    """A mark as the API writes it."""
    return {"type": "ephemeral"} | ({"ttl": mark.ttl} if mark.ttl is not None else {})


def _image_source(part: ImagePart) -> Block:
    if part.url is not None:
        return {"type": "url", "url": part.url}
    if part.media_type not in _IMAGE_TYPES:
        raise unsupported(f"images of the type {part.media_type}")
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


def _document(part: FilePart, betas: set[str]) -> Block:
    block: Block = {"type": "document", "source": _document_source(part, betas)}
    if part.filename:
        block["title"] = part.filename[:255]
    return block


def _document_source(part: FilePart, betas: set[str]) -> Block:
    if part.file_id is not None:
        betas.add(FILES_BETA)
        return {"type": "file", "file_id": part.file_id}
    if part.url is not None:
        return {"type": "url", "url": part.url}
    media_type = part.media_type or "application/octet-stream"
    if media_type == _PDF:
        return {"type": "base64", "media_type": _PDF, "data": part.data}
    if media_type.startswith("text/") or media_type in {"application/json", "application/xml"}:
        try:
            text = base64.b64decode(part.data or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise unsupported("text documents that are not UTF-8 in base64") from exc
        return {"type": "text", "media_type": "text/plain", "data": text or PLACEHOLDER}
    raise unsupported(f"documents of the type {media_type}")


def unsupported(what: str) -> FaultError:
    """The endpoint cannot take what was sent; another model may."""
    return FaultError(
        Fault(
            outcome=Outcome.UNSUPPORTED,
            message=f"{what[:128]} are not supported by the Messages API",
            status_code=400,
        )
    )


def limit_cache_marks(marked: list[Block], warnings: list[str]) -> None:
    """Keep the last four marks, and none of an hour after one of five minutes.

    ``marked`` are the blocks that carry a mark, in the order in which the prompt is put together:
    tools, system, messages. More marks, or another order, are refused.
    """
    surplus = marked[: max(0, len(marked) - MOST_CACHE_MARKS)]
    if surplus:
        warnings.append(
            f"{len(surplus)} of {len(marked)} cache marks were left out; {MOST_CACHE_MARKS} are "
            "taken"
        )
    for block in surplus:
        del block["cache_control"]
    is_short = False
    for block in marked[len(surplus) :]:
        mark = block["cache_control"]
        if mark.get("ttl") != "1h":
            is_short = True
        elif is_short:
            block["cache_control"] = {"type": "ephemeral"}
            warnings.append("a cache mark of an hour after a shorter one was made a short one")


def with_marks(blocks: list[Block]) -> list[Block]:
    """The blocks that carry a mark, those inside of results included, in their order."""
    found: list[Block] = []
    for block in blocks:
        inner = block.get("content")
        if block.get("type") == "tool_result" and isinstance(inner, list):
            found += with_marks(inner)  # pyright: ignore[reportUnknownArgumentType]
        if "cache_control" in block:
            found.append(block)
    return found


def hashed(name: str) -> str:
    """Who asks, without telling who it is."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]
