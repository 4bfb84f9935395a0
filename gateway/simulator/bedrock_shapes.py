"""The shapes of a Converse request as checks, member by member, strict about what is unknown.

After the service's published model (bedrock-runtime, 2023-09-30). A check takes a value and its
path and raises `RefusedError`.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from gateway.simulator.bedrock_errors import invalid
from gateway.simulator.json_values import Json, as_array, as_object

Check = Callable[[Json, str], None]

_IMAGES = ("png", "jpeg", "gif", "webp")
_DOCUMENTS = ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")
_VIDEOS = ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp")
_AUDIO = ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "webm")


def _fail(path: str, constraint: str) -> None:
    raise invalid(
        f"1 validation error detected: Value at '{path}' failed to satisfy constraint: {constraint}"
    )


def text(*, least: int = 0, most: int | None = None, pattern: str | None = None) -> Check:
    """A string of so many characters that matches as a whole."""
    compiled = re.compile(pattern) if pattern is not None else None

    def check(value: Json, path: str) -> None:
        if not isinstance(value, str):
            _fail(path, "Member must be a string")
        elif len(value) < least:
            _fail(path, f"Member must have length greater than or equal to {least}")
        elif most is not None and len(value) > most:
            _fail(path, f"Member must have length less than or equal to {most}")
        elif compiled is not None and compiled.fullmatch(value) is None:
            _fail(path, f"Member must satisfy regular expression pattern: {pattern}")

    return check


def word(*known: str) -> Check:
    """One of these strings."""

    def check(value: Json, path: str) -> None:
        if value not in known:
            _fail(path, f"Member must satisfy enum value set: [{', '.join(known)}]")

    return check


def number(least: float, most: float | None = None, *, is_whole: bool = False) -> Check:
    """A number in a range, ends included."""

    def check(value: Json, path: str) -> None:
        kinds = int if is_whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            _fail(path, f"Member must be {'an integer' if is_whole else 'a number'}")
        elif value < least:
            _fail(path, f"Member must have value greater than or equal to {least}")
        elif most is not None and value > most:
            _fail(path, f"Member must have value less than or equal to {most}")

    return check


def _truth(value: Json, path: str) -> None:
    if not isinstance(value, bool):
        _fail(path, "Member must be a boolean")


def _blob(value: Json, path: str) -> None:
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        data = b""
    if not data:
        _fail(path, "Member must be base64 of at least one byte")


def _object(value: Json, path: str) -> None:
    if as_object(value) is None:
        _fail(path, "Member must be a JSON object")


def many(item: Check, *, least: int = 0, most: int | None = None) -> Check:
    """A list of so many items."""

    def check(value: Json, path: str) -> None:
        items = as_array(value)
        if items is None:
            _fail(path, "Member must be a list")
            return
        if len(items) < least:
            _fail(path, f"Member must have length greater than or equal to {least}")
        if most is not None and len(items) > most:
            _fail(path, f"Member must have length less than or equal to {most}")
        for index, one in enumerate(items):
            item(one, f"{path}.{index}")

    return check


def members(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """An object with these members and no others."""
    known = required | (optional or {})

    def check(value: Json, path: str) -> None:
        found = as_object(value)
        if found is None:
            _fail(path, "Member must be a structure")
            return
        prefix = f"{path}." if path else ""
        for name in required:
            if found.get(name) is None:
                _fail(f"{prefix}{name}", "Member must not be null")
        for name, one in found.items():
            if name not in known:
                raise invalid(
                    f"Malformed input request: #/{prefix}{name}: extraneous key [{name}] is not "
                    "permitted, please reformat your input and try again."
                )
            known[name](one, f"{prefix}{name}")

    return check


def union(**variants: Check) -> Check:
    """An object with exactly one of these members."""

    def check(value: Json, path: str) -> None:
        found = as_object(value)
        if found is None or len(found) != 1:
            _fail(path, f"Exactly one member must be set of: {', '.join(variants)}")
            return
        (name, one), *_ = found.items()
        if name not in variants:
            _fail(path, f"Unknown member {name}; known: {', '.join(variants)}")
        else:
            variants[name](one, f"{path}.{name}")

    return check


_S3 = members({"uri": text(least=1, most=1024, pattern=r"s3://.+")}, {"bucketOwner": text()})
_TOOL_ID = text(least=1, most=64, pattern=r"[a-zA-Z0-9_.:-]+")
_TOOL_NAME = text(least=1, most=64, pattern=r"[a-zA-Z0-9_-]+")
_CACHE_POINT = members({"type": word("default")}, {"ttl": word("5m", "1h")})
_IMAGE = members({"format": word(*_IMAGES), "source": union(bytes=_blob, s3Location=_S3)})
_VIDEO = members({"format": word(*_VIDEOS), "source": union(bytes=_blob, s3Location=_S3)})
_SOUND = members({"format": word(*_AUDIO), "source": union(bytes=_blob, s3Location=_S3)})
# The documentation's words: alphanumeric, single blanks, hyphens, parentheses, square brackets.
_NAME = text(least=1, most=200, pattern=r"(?:[a-zA-Z0-9\-()\[\]]|\s(?!\s))+")
_FILE = members(
    {
        "name": _NAME,
        "source": union(
            bytes=_blob,
            s3Location=_S3,
            text=text(least=1),
            content=many(union(text=text(least=1)), least=1),
        ),
    },
    {
        "format": word(*_DOCUMENTS),
        "context": text(),
        "citations": members({"enabled": _truth}),
    },
)
_TOOL_RESULT = members(
    {
        "toolUseId": _TOOL_ID,
        "content": many(
            union(json=_object, text=text(), image=_IMAGE, document=_FILE, video=_VIDEO)
        ),
    },
    {"status": word("success", "error"), "type": text()},
)
_BLOCK = union(
    text=text(),
    image=_IMAGE,
    document=_FILE,
    video=_VIDEO,
    audio=_SOUND,
    toolUse=members(
        {"toolUseId": _TOOL_ID, "name": _TOOL_NAME, "input": _object},
        {"type": word("server_tool_use")},
    ),
    toolResult=_TOOL_RESULT,
    cachePoint=_CACHE_POINT,
    reasoningContent=union(
        reasoningText=members({"text": text()}, {"signature": text(least=1)}),
        redactedContent=_blob,
    ),
    citationsContent=_object,
)
_TOOL = union(
    toolSpec=members(
        {"name": _TOOL_NAME, "inputSchema": union(json=_object)},
        {"description": text(least=1), "strict": _truth},
    ),
    systemTool=members({"name": _TOOL_NAME}),
    cachePoint=_CACHE_POINT,
)
_FORMAT = members(
    {
        "type": word("json_schema"),
        "structure": union(
            jsonSchema=members({"schema": text(least=1)}, {"name": text(), "description": text()})
        ),
    }
)
_STOPS = many(text(least=1), most=2500)

check_request = members(
    {
        "messages": many(
            members(
                {"role": word("user", "assistant"), "content": many(_BLOCK, least=1)},
            ),
            least=1,
        )
    },
    {
        "system": many(union(text=text(least=1), cachePoint=_CACHE_POINT)),
        "inferenceConfig": members(
            {},
            {
                "maxTokens": number(1, is_whole=True),
                "temperature": number(0, 1),
                "topP": number(0, 1),
                "stopSequences": _STOPS,
            },
        ),
        "toolConfig": members(
            {"tools": many(_TOOL, least=1)},
            {
                "toolChoice": union(
                    auto=members({}), any=members({}), tool=members({"name": _TOOL_NAME})
                )
            },
        ),
        "additionalModelRequestFields": _object,
        "additionalModelResponseFieldPaths": many(text(least=1, most=256), most=10),
        "requestMetadata": _object,
        "guardrailConfig": _object,
        "performanceConfig": members({}, {"latency": word("standard", "optimized")}),
        "serviceTier": members({"type": word("priority", "default", "flex", "reserved")}),
        "outputConfig": members({}, {"textFormat": _FORMAT, "effort": text(most=16)}),
    },
)
"""Refuses a body that is not of the published shape."""


def blocks_of(body: dict[str, Any], name: str) -> list[tuple[str, Json]]:
    """Every block of a kind in the messages, with its path."""
    return [
        (f"messages.{number}.content.{index}", block[name])
        for number, message in enumerate(body["messages"])
        for index, block in enumerate(message["content"])
        if name in block
    ]


def inner(value: dict[str, Any], name: str) -> dict[str, Any]:
    """The object that is a member; empty when it is absent."""
    return as_object(value.get(name)) or {}
