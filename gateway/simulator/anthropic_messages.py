"""What Anthropic refuses in a conversation: roles, blocks, calls without results, signatures."""

import base64
import binascii
import re
from hashlib import blake2b
from typing import Any

from gateway.simulator.anthropic_errors import refuse
from gateway.simulator.anthropic_models import Abilities
from gateway.simulator.json_values import as_array, as_object

MOST_CACHE_MARKS = 4
_MOST_IMAGE_BYTES = 5 * 1024 * 1024
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
_BLOCKS: dict[str, frozenset[str]] = {
    "text": frozenset({"text", "cache_control", "citations"}),
    "image": frozenset({"source", "cache_control"}),
    "document": frozenset({"source", "title", "context", "citations", "cache_control"}),
    "tool_use": frozenset({"id", "name", "input", "cache_control"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error", "cache_control"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
}
_OF_USER = frozenset({"text", "image", "document", "tool_result"})
_OF_ASSISTANT = frozenset({"text", "tool_use", "thinking", "redacted_thinking"})
_IN_RESULTS = frozenset({"text", "image", "document"})


def signature_of(thinking: str) -> str:
    """The signature that this server gives a thought; it takes no other one back."""
    return base64.b64encode(blake2b(thinking.encode(), key=b"simulated").digest()).decode()


def redacted(thinking: str) -> str:
    """A thought that only this server can read."""
    sealed = blake2b(thinking.encode(), key=b"simulated", digest_size=16).digest()
    return base64.b64encode(sealed + thinking.encode()).decode()


def blocks_of(content: object) -> list[dict[str, Any]]:
    """The blocks of a message; text alone is one."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in as_array(content) or [] if isinstance(block, dict)]


def has_tool_blocks(messages: list[dict[str, Any]]) -> bool:
    """Whether tools were called in the conversation."""
    return any(
        block["type"] in {"tool_use", "tool_result"}
        for message in messages
        for block in blocks_of(message["content"])
    )


def check_system(system: object) -> None:
    """Raise `RefusedError` unless it is text or text blocks, none empty."""
    if system is None or isinstance(system, str):
        return
    blocks = as_array(system)
    if blocks is None:
        refuse("system", "Input should be a valid string or list")
    for index, block in enumerate(blocks):
        item = as_object(block)
        if item is None or item.get("type") != "text":
            refuse(f"system.{index}.type", "Input should be 'text'")
        _check_block(item, f"system.{index}", frozenset({"text"}))


def check_messages(given: object, able: Abilities, thinking: str | None) -> None:
    """Raise `RefusedError` for the first thing that is wrong; `thinking` is the type that is on."""
    messages = as_array(given)
    if not messages:
        refuse("messages", "at least one message is required")
    previous: str | None = None
    waiting: list[str] = []
    seen: set[str] = set()
    for index, one in enumerate(messages):
        message = as_object(one)
        if message is None:
            refuse(f"messages.{index}", "Input should be an object")
        for name in message:
            if name not in {"role", "content"}:
                refuse(f"messages.{index}.{name}", "Extra inputs are not permitted")
        role = message.get("role")
        _check_role(role, previous, index)
        blocks = _check_content(message, index, is_last=index == len(messages) - 1)
        if role == "user":
            _check_results(blocks, waiting, index)
            waiting = []
        else:
            waiting = _check_calls(blocks, seen, index)
        previous = role
    if waiting:
        _refuse_unanswered(waiting, len(messages) - 1)
    _check_end(messages, able, thinking)


def _check_role(role: object, previous: str | None, index: int) -> None:
    if role == "system":
        refuse(
            "messages",
            'Unexpected role "system". The Messages API accepts a top-level `system` parameter, '
            'not "system" as an input message role.',
        )
    if role not in {"user", "assistant"}:
        refuse(f"messages.{index}.role", "Input should be 'user' or 'assistant'")
    if previous is None and role != "user":
        refuse("messages", 'first message must use the "user" role')
    if role == previous:
        refuse(
            "messages",
            'roles must alternate between "user" and "assistant", but found multiple '
            f'"{role}" roles in a row',
        )


def _check_content(message: dict[str, Any], index: int, *, is_last: bool) -> list[dict[str, Any]]:
    content, role = message.get("content"), message["role"]
    at = f"messages.{index}"
    if not isinstance(content, str) and as_array(content) is None:
        refuse(f"{at}.content", "Input should be a valid string or list")
    if not content and not (is_last and role == "assistant"):
        refuse(
            at,
            "all messages must have non-empty content except for the optional final assistant "
            "message",
        )
    kinds = _OF_USER if role == "user" else _OF_ASSISTANT
    blocks = blocks_of(message["content"])
    for number, block in enumerate(blocks):
        _check_block(block, f"{at}.content.{number}", kinds)
    return blocks


def _check_block(block: dict[str, Any], at: str, kinds: frozenset[str]) -> None:
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        refuse(at, f"Input tag '{kind}' found using 'type' does not match any of the expected tags")
    for name in block:
        if name != "type" and name not in _BLOCKS[kind]:
            refuse(f"{at}.{kind}.{name}", "Extra inputs are not permitted")
    if kind == "text":
        _check_text(block, at)
    elif kind == "image":
        _check_image(block.get("source"), at)
    elif kind == "document":
        _check_document(block.get("source"), at)
    elif kind == "tool_use":
        _check_call(block, at)
    elif kind == "tool_result":
        _check_result(block, at)
    elif kind == "thinking":
        thought, signature = block.get("thinking"), block.get("signature")
        if not isinstance(thought, str) or signature != signature_of(thought):
            refuse(at, "Invalid `signature` in `thinking` block")
    elif kind == "redacted_thinking":
        _check_redacted(block.get("data"), at)


def _check_text(block: dict[str, Any], at: str) -> None:
    text = block.get("text")
    if not isinstance(text, str):
        refuse(f"{at}.text.text", "Field required")
    if not text:
        if block.get("cache_control") is not None:
            refuse(f"{at}.text", "cache_control cannot be set for empty text blocks")
        refuse("messages", "text content blocks must be non-empty")
    if not text.strip():
        refuse("messages", "text content blocks must contain non-whitespace text")


def _check_redacted(data: object, at: str) -> None:
    try:
        sealed = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except binascii.Error:
        sealed = b""
    if redacted(sealed[16:].decode(errors="replace")) != data:
        refuse(at, "Invalid `data` in `redacted_thinking` block")


def _decoded(source: dict[str, Any], at: str) -> bytes:
    data = source.get("data")
    try:
        return base64.b64decode(data if isinstance(data, str) else "!", validate=True)
    except binascii.Error:
        refuse(f"{at}.source.base64.data", "Invalid base64 data")


def _check_image(given: object, at: str) -> None:
    source = as_object(given) or {}
    kind = source.get("type")
    if kind == "url":
        if not str(source.get("url", "")).startswith("https://"):
            refuse(f"{at}.source.url.url", "Only HTTPS URLs are supported.")
        return
    if kind == "file" and isinstance(source.get("file_id"), str):
        return
    if kind != "base64":
        refuse(f"{at}.source", "Input tag found does not match any of the expected tags")
    media_type = source.get("media_type")
    if media_type not in _IMAGES:
        refuse(f"{at}.source.base64.media_type", f"Input should be one of {', '.join(_IMAGES)}")
    content = _decoded(source, at)
    if len(content) > _MOST_IMAGE_BYTES:
        refuse(f"{at}.source.base64", "image exceeds 5 MB maximum")
    if not content.startswith(_IMAGES[media_type]):
        refuse(
            f"{at}.source.base64",
            f"The image was specified using the {media_type} media type, but it appears to be "
            "another one",
        )


def _check_document(given: object, at: str) -> None:
    source = as_object(given) or {}
    kind, media_type = source.get("type"), source.get("media_type")
    if kind == "base64":
        if media_type != "application/pdf":
            refuse(f"{at}.source.base64.media_type", "Input should be 'application/pdf'")
        if not _decoded(source, at).startswith(b"%PDF"):
            refuse(f"{at}.source.base64.data", "The PDF specified was not valid.")
    elif kind == "text":
        if media_type != "text/plain" or not str(source.get("data", "")).strip():
            refuse(f"{at}.source.text", "Input should be plain text that is not empty")
    elif kind not in {"url", "file"}:
        refuse(f"{at}.source", "Input tag found does not match any of the expected tags")


def _check_call(block: dict[str, Any], at: str) -> None:
    call_id = block.get("id")
    if not isinstance(call_id, str) or not _CALL_ID.fullmatch(call_id):
        refuse(f"{at}.tool_use.id", "String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block.get("name"), str) or not block["name"]:
        refuse(f"{at}.tool_use.name", "String should have at least 1 character")
    if as_object(block.get("input")) is None:
        refuse(f"{at}.tool_use.input", "Input should be a valid dictionary")


def _check_result(block: dict[str, Any], at: str) -> None:
    if not isinstance(block.get("tool_use_id"), str):
        refuse(f"{at}.tool_result.tool_use_id", "Field required")
    content = block.get("content")
    if content is None or isinstance(content, str):
        return
    for number, one in enumerate(as_array(content) or []):
        inner = as_object(one) or {}
        _check_block(inner, f"{at}.tool_result.content.{number}", _IN_RESULTS)


def _check_calls(blocks: list[dict[str, Any]], seen: set[str], index: int) -> list[str]:
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    for call_id in ids:
        if call_id in seen:
            refuse(f"messages.{index}", "`tool_use` ids must be unique")
        seen.add(call_id)
    return ids


def _check_results(blocks: list[dict[str, Any]], waiting: list[str], index: int) -> None:
    kinds = [block["type"] == "tool_result" for block in blocks]
    answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    for call_id in answered:
        if call_id not in waiting:
            refuse(
                f"messages.{index}",
                f"unexpected `tool_use_id` found in `tool_result` blocks: {call_id}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous "
                "message.",
            )
    if len(answered) != len(set(answered)):
        refuse(f"messages.{index}", "each tool_use must have a single result.")
    unanswered = [call_id for call_id in waiting if call_id not in answered]
    if unanswered:
        _refuse_unanswered(unanswered, index - 1)
    if kinds != sorted(kinds, reverse=True):
        refuse(f"messages.{index}", "`tool_result` blocks must come before other content")


def _refuse_unanswered(ids: list[str], index: int) -> None:
    refuse(
        f"messages.{index}",
        "`tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in "
        "the next message.",
    )


def _check_end(messages: list[Any], able: Abilities, thinking: str | None) -> None:
    last = messages[-1]
    if last["role"] == "assistant":
        if not able.prefill:
            refuse("", "This model does not support assistant message prefill.")
        if thinking is not None:
            refuse("", "When thinking is enabled, the response cannot be prefilled.")
        end = blocks_of(last["content"])[-1:]
        if end and end[0]["type"] == "text" and end[0]["text"] != end[0]["text"].rstrip():
            refuse("messages", "final assistant content cannot end with trailing whitespace")
    if thinking == "enabled":
        _check_loop(messages)


def _check_loop(messages: list[Any]) -> None:
    """While tools are being used, the last calls must come with the thought that led to them."""
    for index in range(len(messages) - 1, -1, -1):
        blocks = blocks_of(messages[index]["content"])
        kinds = [block["type"] for block in blocks]
        if messages[index]["role"] == "user":
            if "tool_result" not in kinds:
                return
        elif "tool_use" in kinds:
            if kinds[0] not in {"thinking", "redacted_thinking"}:
                refuse(
                    f"messages.{index}.content.0.type",
                    f"Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`. When "
                    "`thinking` is enabled, a final `assistant` message must start with a thinking "
                    "block (preceeding the lastmost set of `tool_use` and `tool_result` blocks).",
                )
            return


def check_cache_marks(body: dict[str, Any]) -> None:
    """Raise `RefusedError` for more than four marks, or a long one after a short one."""
    marks = cache_marks(body)
    if len(marks) > MOST_CACHE_MARKS:
        refuse(
            "",
            f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.",
        )
    is_short = False
    for mark in marks:
        if mark.get("type") != "ephemeral" or mark.get("ttl", "5m") not in {"5m", "1h"}:
            refuse("cache_control", "Input should be 'ephemeral' with a ttl of '5m' or '1h'")
        if mark.get("ttl") != "1h":
            is_short = True
        elif is_short:
            refuse(
                "cache_control.ttl",
                "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block",
            )


def cache_marks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The marks in the order of the prompt: tools, system, messages."""
    blocks = list(as_array(body.get("tools")) or [])
    blocks += as_array(body.get("system")) or []
    for message in body["messages"]:
        for block in blocks_of(message["content"]):
            blocks += as_array(block.get("content")) or []
            blocks.append(block)
    return [block["cache_control"] for block in blocks if block.get("cache_control") is not None]
