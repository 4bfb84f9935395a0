"""Response healing: answers that should be JSON and nearly are.

Whatever was changed is told, and so is what still does not fit the schema. Text that is JSON
already is never touched.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway.chat.json_repair import STRICT, Repaired, UnrepairableError, refuse_constant, repair
from gateway.chat.request import ChatRequest
from gateway.chat.schema_check import find_misfit

FENCE: Final = "took away a Markdown fence"
PROSE: Final = "took the JSON out of the text around it"

MAX_CHARACTERS = 64_000
"""Longer answers are left as they are: repairing them would hold up everybody else."""
_MAX_STARTS = 32

_FENCE_MARK: Final = "```"
_AN_OBJECT: Final[dict[str, Any]] = {"type": "object"}
_NULL: Final = Raw(b"null")
_CHOICES: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_ENCODER: Final = msgspec.json.Encoder()


class Healed(msgspec.Struct, frozen=True, kw_only=True):
    """A text after healing."""

    text: str
    """As it came, when nothing could or had to be done."""
    repairs: tuple[str, ...] = ()
    problem: str | None = None
    """Why it still is not what was asked for; None when it is."""


class HealedChoices(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of an answer after healing."""

    choices: bytes
    notes: tuple[str, ...] = ()
    """What was repaired and what still does not fit, for ``metadata.repairs``."""


def heal(text: str, schema: object) -> Healed:
    """The JSON that a text was meant to be.

    Args:
        text: the model's answer.
        schema: a decoded JSON schema; None allows every value.
    """
    value, is_json = _parse(text)
    if is_json:
        return Healed(text=text, problem=find_misfit(value, schema))
    best: Healed | None = None
    if len(text) <= MAX_CHARACTERS:
        for found in _candidates(text):
            problem = find_misfit(_parse(found.text)[0], schema)
            healed = Healed(text=found.text, repairs=found.repairs, problem=problem)
            if problem is None:
                return healed
            if best is None or len(healed.text) > len(best.text):
                best = healed
    return best or Healed(text=text, problem="the answer holds no JSON that could be repaired")


def _parse(text: str) -> tuple[Any, bool]:
    """The value, and whether there is one."""
    try:
        return json.loads(text, parse_constant=refuse_constant), True
    except (ValueError, RecursionError):
        return None, False


def _candidates(text: str) -> Iterator[Repaired]:
    """Objects and lists in the text, outermost first."""
    position = 0
    for _ in range(_MAX_STARTS):
        starts = [at for at in (text.find("{", position), text.find("[", position)) if at >= 0]
        if not starts:
            return
        start = min(starts)
        found = _read(text, start)
        if found is None:
            position = start + 1
            continue
        position = found.end
        yield Repaired(
            text=found.text,
            end=found.end,
            repairs=(*_surroundings(text, start, found.end), *found.repairs),
        )


def _read(text: str, start: int) -> Repaired | None:
    try:
        _, end = STRICT.raw_decode(text, start)
    except (ValueError, RecursionError):
        pass
    else:
        return Repaired(text=text[start:end], end=end, repairs=())
    fence = text.rfind(_FENCE_MARK, start)
    ends = (len(text),) if fence < 0 else (fence, len(text))
    for end in ends:
        try:
            found = repair(text, start, end)
        except UnrepairableError:
            continue
        if _parse(found.text)[1]:
            return found
    return None


def _surroundings(text: str, start: int, end: int) -> list[str]:
    around = text[:start] + text[end:]
    prose = around.replace(_FENCE_MARK + "json", "").replace(_FENCE_MARK, "").strip()
    return [
        note for note, is_due in ((FENCE, _FENCE_MARK in around), (PROSE, bool(prose))) if is_due
    ]


def heal_choices(choices: bytes, request: ChatRequest) -> HealedChoices:
    """The choices of a whole answer, each healed; untouched when there is nothing to heal.

    Choices that call tools, or say nothing, are left alone.
    """
    schema = _schema_of(request)
    decoded = _CHOICES.decode(choices)
    notes: list[str] = []
    is_changed = False
    for number, choice in enumerate(decoded):
        raw = choice.get("message", _NULL)
        if raw == _NULL:
            continue
        message = _MEMBERS.decode(raw)
        text = _text_of(message)
        if not text:
            continue
        healed = heal(text, schema)
        notes += [f"choice {number}: {repair}" for repair in healed.repairs]
        if healed.problem is not None:
            notes.append(f"choice {number} is still not what was asked for: {healed.problem}")
        if healed.text != text:
            is_changed = True
            message["content"] = Raw(_ENCODER.encode(healed.text))
            choice["message"] = Raw(_ENCODER.encode(message))
    return HealedChoices(
        choices=_ENCODER.encode(decoded) if is_changed else choices, notes=tuple(notes)
    )


def _schema_of(request: ChatRequest) -> object:
    sent = request.body.get("response_format", _NULL)
    if sent == _NULL:
        return None
    form = msgspec.json.decode(sent)
    if form.get("type") != "json_schema":
        return _AN_OBJECT
    return form["json_schema"].get("schema")


def _text_of(message: dict[str, Raw]) -> str | None:
    content = message.get("content", _NULL)
    calls = message.get("tool_calls", _NULL)
    if bytes(content)[:1] != b'"' or bytes(calls) not in {b"null", b"[]"}:
        return None
    return msgspec.json.decode(content, type=str)
