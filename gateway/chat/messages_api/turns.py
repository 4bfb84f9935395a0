"""Turns of the Messages API -> messages of a chat request."""

from typing import Any

import msgspec

from gateway.chat.messages_api.signatures import from_signature
from gateway.chat.messages_api.view import Block, CacheControl, Source, Turn
from gateway.domain.errors import InvalidRequestError

Message = dict[str, Any]

_FORGOTTEN = frozenset(
    {
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "container_upload",
    }
)
"""What a provider's own tools did in earlier turns: another provider could not read it, and the
text around it tells what was found."""
_EMPTY_INPUT = b"{}"


def to_messages(
    system: str | list[Block] | None, turns: list[Turn], warnings: list[str]
) -> list[Message]:
    """The conversation as a chat request has it.

    Raises:
        InvalidRequestError: a block is of an unknown type, stands in the wrong place, or lacks
            what its type requires.
    """
    messages: list[Message] = []
    if system:
        messages.append({"role": "system", "content": _system(system)})
    for index, turn in enumerate(turns):
        place = f"messages.{index}.content"
        if isinstance(turn.content, str):
            messages.append({"role": turn.role, "content": turn.content})
        elif turn.role == "user":
            messages += _user(turn.content, place, warnings)
        else:
            messages.append(_assistant(turn.content, place, warnings))
    return messages


def _system(system: str | list[Block]) -> str | list[Message]:
    if isinstance(system, str):
        return system
    parts: list[Message] = []
    for number, block in enumerate(system):
        if block.type != "text" or block.text is None:
            raise _bad(f"system.{number}", "must be a text block with `text`")
        parts.append(_text(block.text, block.cache_control))
    return _plain(parts)


def _user(blocks: list[Block], place: str, warnings: list[str]) -> list[Message]:
    """Results of tools first, each as a message, then what the user says."""
    results: list[Message] = []
    parts: list[Message] = []
    for number, block in enumerate(blocks):
        where = f"{place}.{number}"
        if block.type == "tool_result":
            results.append(_result(block, where, warnings))
        elif block.type in _FORGOTTEN:
            _forget(block, warnings)
        else:
            parts += _parts(block, where, warnings)
    if parts:
        results.append({"role": "user", "content": _plain(parts)})
    if not results:
        raise _bad(place, "holds nothing that can be sent; send text or leave the message out")
    return results


def _assistant(blocks: list[Block], place: str, warnings: list[str]) -> Message:
    parts: list[Message] = []
    calls: list[Message] = []
    details: list[Message] = []
    for number, block in enumerate(blocks):
        where = f"{place}.{number}"
        if block.type == "text":
            parts += _parts(block, where, warnings)
        elif block.type == "tool_use":
            calls.append(_call(block, where))
        elif block.type in {"thinking", "redacted_thinking"}:
            details.append(_thought(block, where, len(details)))
        elif block.type in _FORGOTTEN:
            _forget(block, warnings)
        else:
            raise _bad(where, f"is of type {block.type[:64]!r}, which assistants do not say")
    message: Message = {"role": "assistant", "content": _plain(parts) if parts else None}
    if calls:
        message["tool_calls"] = calls
    elif not parts:
        # An answer that held thoughts alone; an empty text is what a chat has for it.
        message["content"] = ""
    if details:
        message["reasoning_details"] = details
    return message


def _call(block: Block, where: str) -> Message:
    if not block.id or not block.name:
        raise _bad(where, "needs `id` and `name`")
    arguments = bytes(block.input) or _EMPTY_INPUT
    if arguments[:1] != b"{":
        raise _bad(f"{where}.input", "must be an object")
    return {
        "id": block.id,
        "type": "function",
        "function": {"name": block.name, "arguments": arguments.decode()},
    }


def _thought(block: Block, where: str, index: int) -> Message:
    if block.type == "redacted_thinking":
        if block.data is None:
            raise _bad(f"{where}.data", "is required")
        form, data = from_signature(block.data)
        return {"type": "reasoning.encrypted", "data": data, "format": form, "index": index}
    if block.thinking is None:
        raise _bad(f"{where}.thinking", "is required")
    thought: Message = {"type": "reasoning.text", "text": block.thinking, "index": index}
    if block.signature:
        thought["format"], thought["signature"] = from_signature(block.signature)
    return thought


def _result(block: Block, where: str, warnings: list[str]) -> Message:
    if not block.tool_use_id:
        raise _bad(f"{where}.tool_use_id", "is required: it names the call that is answered")
    content: str | list[Message] = ""
    if isinstance(block.content, str):
        content = block.content
    elif block.content:
        parts: list[Message] = []
        for number, inner in enumerate(block.content):
            parts += _parts(inner, f"{where}.content.{number}", warnings)
        content = _plain(parts)
    message: Message = {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
    if block.is_error:
        message["is_error"] = True
    if block.cache_control is not None:
        message["cache_control"] = _as_sent(block.cache_control)
    return message


def _parts(block: Block, where: str, warnings: list[str]) -> list[Message]:
    if block.type == "text":
        if block.text is None:
            raise _bad(f"{where}.text", "is required for a text block")
        return [_text(block.text, block.cache_control)]
    if block.type == "image":
        return [_cached(_image(block, where), block.cache_control)]
    if block.type == "document":
        return _document(block, where, warnings)
    if block.type == "search_result":
        return _search_result(block, where, warnings)
    raise _bad(
        where,
        f"is of type {block.type[:64]!r}; use text, image, document, search_result, tool_use or "
        "tool_result",
    )


def _image(block: Block, where: str) -> Message:
    return {"type": "image_url", "image_url": {"url": _url(block, where, "image/png")}}


def _document(block: Block, where: str, warnings: list[str]) -> list[Message]:
    source = _source(block, where)
    heading = "\n".join(text for text in (block.title, block.context) if text)
    if source.type == "text":
        text = source.data or ""
        return [_text(f"{heading}\n\n{text}" if heading else text, block.cache_control)]
    if source.type == "content":
        inner = source.content or ""
        if isinstance(inner, str):
            return [_text(f"{heading}\n\n{inner}" if heading else inner, block.cache_control)]
        parts = [_text(heading, None)] if heading else []
        for number, piece in enumerate(inner):
            parts += _parts(piece, f"{where}.source.content.{number}", warnings)
        return parts
    file = {
        "filename": block.title or "document.pdf",
        "file_data": _url(block, where, "application/pdf"),
    }
    return [_cached({"type": "file", "file": file}, block.cache_control)]


def _search_result(block: Block, where: str, warnings: list[str]) -> list[Message]:
    address = block.source if isinstance(block.source, str) else ""
    heading = " ".join(text for text in (block.title, address) if text)
    parts = [_text(heading, None)] if heading else []
    if isinstance(block.content, str):
        return [*parts, _text(block.content, block.cache_control)]
    for number, inner in enumerate(block.content or ()):
        parts += _parts(inner, f"{where}.content.{number}", warnings)
    return parts


def _url(block: Block, where: str, usual_type: str) -> str:
    """An address, or the data itself as a ``data:`` URL."""
    source = _source(block, where)
    if source.type == "url" and source.url:
        return source.url
    if source.type == "base64" and source.data:
        return f"data:{source.media_type or usual_type};base64,{source.data}"
    if source.type == "file":
        raise _bad(
            f"{where}.source",
            "is a file uploaded to Anthropic, which other providers cannot read; send its data",
        )
    raise _bad(f"{where}.source", "needs `url`, or `data` of type base64")


def _source(block: Block, where: str) -> Source:
    if not isinstance(block.source, Source):
        raise _bad(f"{where}.source", "is required")
    return block.source


def _text(text: str, cache_control: CacheControl | None) -> Message:
    return _cached({"type": "text", "text": text}, cache_control)


def _cached(part: Message, cache_control: CacheControl | None) -> Message:
    if cache_control is not None:
        part["cache_control"] = _as_sent(cache_control)
    return part


def _as_sent(cache_control: CacheControl) -> Message:
    ttl = cache_control.ttl
    return {"type": "ephemeral"} if ttl is None else {"type": "ephemeral", "ttl": ttl}


def _plain(parts: list[Message]) -> str | list[Message]:
    """One text without a cache mark is sent as a text."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return parts


def _forget(block: Block, warnings: list[str]) -> None:
    warnings.append(f"earlier blocks of type `{block.type}` were left out of the conversation")


def _bad(param: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{param}` {what}.", param=param, code="invalid_value")


_ENCODER = msgspec.json.Encoder()


def render_messages(messages: list[Message]) -> msgspec.Raw:
    """The messages as JSON."""
    return msgspec.Raw(_ENCODER.encode(messages))
