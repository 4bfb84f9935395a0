"""Bounds on the shape of a JSON body, and on its ambiguity, checked before anything reads it.

Decoders accept what these checks refuse: hostile nesting, floods of tiny values, and members given
twice (of which every reader keeps another one, so that a policy could be smuggled past us).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.domain.errors import InvalidRequestError

MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_MEMBERS = 512
"""Members of the body itself; the published APIs together name fewer than a hundred."""

_KEPT = b'[]{}",'
_ONLY_STRUCTURE = bytes(byte for byte in range(256) if byte not in _KEPT)
_ONE_KIND_OF_BRACKET = bytes.maketrans(b"{}", b"[]")
_NAME = re.compile(rb'[ \t\r\n]*"([^"\\]*)"[ \t\r\n]*:[ \t\r\n]*')
_SEPARATOR = re.compile(rb"[ \t\r\n]*([,}])")


def check_size_of_structure(body: bytes) -> None:
    """Refuse nesting deeper than 64 levels and more than 200,000 values.

    Ordinary bodies are cleared by counting brackets and commas; only suspicious ones are taken
    apart.

    Raises:
        InvalidRequestError: the body is beyond the bounds.
    """
    openings = body.count(b"[") + body.count(b"{")
    if openings <= MAX_DEPTH and len(body) <= MAX_NODES:
        return
    if openings <= MAX_DEPTH and openings + body.count(b",") <= MAX_NODES:
        return
    structure = _without_strings(body)
    if structure.count(b"[") + structure.count(b",") > MAX_NODES:
        raise InvalidRequestError(
            f"The body holds more than {MAX_NODES:,} values; send less.", code="too_complex"
        )
    brackets = structure.replace(b",", b"")
    for _ in range(MAX_DEPTH):
        inner = brackets.replace(b"[]", b"")
        if len(inner) == len(brackets):
            return
        brackets = inner
    if b"[]" in brackets:
        raise InvalidRequestError(
            f"The body is nested deeper than {MAX_DEPTH} levels; flatten it.", code="too_complex"
        )


def _without_strings(body: bytes) -> bytes:
    """Brackets (all written as square ones) and commas outside strings."""
    if b"\\" in body:
        # Pairs of backslashes first, so that what is left of a run escapes what follows it.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_ONE_KIND_OF_BRACKET, _ONLY_STRUCTURE)
    return b"".join(marks.split(b'"')[::2])


def check_members_are_unique(
    body: bytes, members: Mapping[str, msgspec.Raw], *, below: str = ""
) -> None:
    """Refuse a member that is given twice.

    ``members`` is the decoded body. It is walked along the bytes: where both agree to the end,
    there is no second member of any name. ``below`` is the dotted path of the object, for messages.

    Raises:
        InvalidRequestError: a name occurs twice, or there are more than 512 members.
    """
    if len(members) > MAX_MEMBERS:
        raise InvalidRequestError(
            f"The body has {len(members)} members; at most {MAX_MEMBERS} are accepted.",
            code="too_complex",
        )
    position = body.index(b"{") + 1
    mark = b"," if members else b"}"
    for name, raw in members.items():
        found = _NAME.match(body, position)
        value = bytes(raw)
        if found is None or found[1] != name.encode() or not body.startswith(value, found.end()):
            break
        after = _SEPARATOR.match(body, found.end() + len(value))
        if after is None:
            break
        position, mark = after.end(), after[1]
    else:
        if mark == b"}" or not members:
            return
    # Escaped names end up here too; the slow reader knows them apart.
    _refuse_repeated_name(body, below)


def _refuse_repeated_name(body: bytes, below: str) -> None:
    root: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        root[:] = pairs  # objects are closed innermost first, so the last call is the body's own

    try:
        json.loads(body, object_pairs_hook=keep, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequestError("The body is not valid JSON.", code="json_invalid") from exc
    seen: set[str] = set()
    for name, _ in root:
        if name in seen:
            raise InvalidRequestError(
                f"`{below}{name[:64]}` is given twice; send it once.",
                param=below + name[:64],
                code="duplicate_member",
            )
        seen.add(name)
