"""Reads the messages of a request into turns that every protocol accepts (see `turns`)."""

import hashlib
import re
from collections import deque
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from gateway.providers.translation.parts import bad, is_blank, read_cache_mark, read_parts
from gateway.providers.translation.turns import (
    PLACEHOLDER,
    AssistantTurn,
    CacheMark,
    Conversation,
    ImagePart,
    Part,
    ReasoningDetail,
    TextPart,
    ToolCall,
    ToolResult,
    Turn,
    UserTurn,
)

WIRE_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Ids of calls that Anthropic and Bedrock accept."""
NO_RESULT: Final = "The tool gave no result."
"""Answers a call that the client left unanswered."""

_ENCODER: Final = msgspec.json.Encoder()
_EMPTY_OBJECT: Final = Raw(b"{}")
_ID_HEAD: Final = 40
_NOTHING_SAID: Final = TextPart(text=PLACEHOLDER)
_FOR_THE_SYSTEM: Final = frozenset({"system", "developer"})


class _Message(msgspec.Struct, kw_only=True, gc=False):
    role: str
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_details: Any = None
    images: list[dict[str, Any]] | None = None
    cache_control: Any = None


_MESSAGES: Final = msgspec.json.Decoder(list[_Message])
_DETAILS: Final = list[ReasoningDetail]


def read_conversation(messages: Raw, warnings: list[str]) -> Conversation:
    """Turns from the ``messages`` of a request.

    System and developer texts are lifted out, neighbours of the same role are one turn, blank texts
    are left out. Calls and results are joined within a turn and the messages up to the next
    assistant's; a call without a result gets one that says so, a result without its call is left
    out. ``warnings`` receives what was changed in meaning.

    Raises:
        FaultError: a message is not of the form that its role requires.
    """
    try:
        sent = _MESSAGES.decode(messages)
    except msgspec.DecodeError as exc:
        raise bad("messages", f"cannot be read: {exc}") from exc
    return _Reader(sent, warnings).read()


class _Reader:
    """Walks the messages once."""

    def __init__(self, sent: list[_Message], warnings: list[str]) -> None:
        self._sent = sent
        self._warnings = warnings
        self._system: list[TextPart] = []
        self._turns: list[Turn] = []
        self._ids: set[str] = set()
        self._saying: list[Part] | None = None
        """What the user says in the turn that is being read; None in an assistant's."""
        self._assistants: list[tuple[int, _Message]] = []
        self._results: list[tuple[int, _Message]] = []
        names = {message.name for message in sent if message.role == "user" and message.name}
        self._tells_names = len(names) > 1

    def read(self) -> Conversation:
        for index, message in enumerate(self._sent):
            role = message.role
            if role in _FOR_THE_SYSTEM:
                self._lift(message, index)
            elif role == "assistant":
                if self._saying is not None or self._results:
                    self._close()
                if _says_something(message):
                    self._assistants.append((index, message))
            elif role == "tool":
                self._results.append((index, message))
            else:
                self._say(message, index)
        self._close()
        turns = self._turns
        if not turns or isinstance(turns[0], AssistantTurn):
            turns.insert(0, UserTurn(parts=(_NOTHING_SAID,)))
        return Conversation(system=tuple(self._system), turns=tuple(turns))

    def _lift(self, message: _Message, index: int) -> None:
        parts = self._parts(message, index)
        for part in parts:
            if isinstance(part, TextPart):
                self._system.append(part)
            else:
                self._warnings.append(
                    f"`messages.{index}`: only text is taken from system messages"
                )

    def _say(self, message: _Message, index: int) -> None:
        if self._saying is None:
            self._saying = []
        parts = self._parts(message, index)
        if self._tells_names and message.name and parts and isinstance(parts[0], TextPart):
            first = parts[0]
            parts[0] = TextPart(text=f"{message.name}: {first.text}", cache=first.cache)
        self._saying += parts

    def _parts(self, message: _Message, index: int) -> list[Part]:
        parts = read_parts(message.content, f"messages.{index}.content", self._warnings)
        mark = _mark_of(message)
        if mark is not None and parts:
            parts[-1] = msgspec.structs.replace(parts[-1], cache=mark)
        return parts

    def _close(self) -> None:
        """End the assistant's turn and the user's after it, joining calls and results."""
        calls: tuple[ToolCall, ...] = ()
        if self._assistants:
            turn = self._assistant_turn()
            calls = turn.calls
            self._append(turn)
        results = self._join(calls)
        if results or self._saying is not None:
            parts = tuple(self._saying or ())
            if not results and not parts:
                parts = (_NOTHING_SAID,)
            self._append(UserTurn(results=results, parts=parts))
        self._assistants, self._results, self._saying = [], [], None

    def _append(self, turn: Turn) -> None:
        last = self._turns[-1] if self._turns else None
        if isinstance(turn, UserTurn) and isinstance(last, UserTurn):
            # What the assistant said in between was empty.
            both = last.parts + turn.parts
            parts = tuple(part for part in both if part is not _NOTHING_SAID) or both[:1]
            turn = UserTurn(results=last.results + turn.results, parts=parts)
            self._turns.pop()
        self._turns.append(turn)

    def _assistant_turn(self) -> AssistantTurn:
        parts: list[TextPart | ImagePart] = []
        calls: list[ToolCall] = []
        details: list[ReasoningDetail] = []
        reasoning: list[str] = []
        for index, message in self._assistants:
            parts += [
                part
                for part in self._parts(message, index)
                if isinstance(part, TextPart | ImagePart)
            ]
            if message.refusal and not is_blank(message.refusal):
                parts.append(TextPart(text=message.refusal))
            if message.images:
                images = read_parts(message.images, f"messages.{index}.images", self._warnings)
                parts += [part for part in images if isinstance(part, ImagePart)]
            calls += [
                self._call(call, f"messages.{index}.tool_calls.{number}")
                for number, call in enumerate(message.tool_calls or ())
            ]
            details += _details(message.reasoning_details)
            text = message.reasoning or message.reasoning_content
            if isinstance(text, str) and not is_blank(text):
                reasoning.append(text)
        return AssistantTurn(
            parts=tuple(parts),
            calls=tuple(calls),
            reasoning="\n".join(reasoning) or None,
            reasoning_details=tuple(details),
        )

    def _call(self, call: dict[str, Any], where: str) -> ToolCall:
        sent_id = call.get("id")
        called: object = call.get("function")
        text: object = None
        if isinstance(called, dict):
            members = cast("dict[str, Any]", called)
            arguments = read_arguments(members.get("arguments"))
        elif isinstance(called := call.get("custom"), dict):
            members = cast("dict[str, Any]", called)
            text = members.get("input")
            arguments = Raw(_ENCODER.encode({"input": text if isinstance(text, str) else ""}))
        else:
            raise bad(where, "is neither the call of a function nor of a custom tool")
        name = members.get("name")
        if not isinstance(name, str) or not name or not isinstance(sent_id, str):
            raise bad(where, "needs an `id` and the name of what is called")
        wire_id = self._wire_id(sent_id)
        return ToolCall(id=wire_id, sent_id=sent_id, name=name, arguments=arguments)

    def _wire_id(self, sent_id: str) -> str:
        """The id itself where it is new and of an accepted form, else one made from it."""
        wire_id, times = sent_id, 0
        while wire_id in self._ids or WIRE_ID.fullmatch(wire_id) is None:
            digest = hashlib.sha256(f"{sent_id}:{times}".encode()).hexdigest()[:16]
            wire_id = f"{re.sub(r'[^a-zA-Z0-9_-]', '_', sent_id)[:_ID_HEAD]}_{digest}"
            times += 1
        self._ids.add(wire_id)
        return wire_id

    def _join(self, calls: tuple[ToolCall, ...]) -> tuple[ToolResult, ...]:
        waiting: dict[str | None, deque[tuple[int, _Message]]] = {}
        for index, message in self._results:
            waiting.setdefault(message.tool_call_id, deque()).append((index, message))
        results: list[ToolResult] = []
        for call in calls:
            found = waiting.get(call.sent_id)
            if found:
                index, message = found.popleft()
                results.append(self._result(call, message, index))
            else:
                self._warnings.append(
                    f"the call `{call.sent_id[:64]}` has no result; the model is told so"
                )
                results.append(
                    ToolResult(
                        call_id=call.id,
                        sent_id=call.sent_id,
                        name=call.name,
                        parts=(TextPart(text=NO_RESULT),),
                        is_error=True,
                        is_missing=True,
                    )
                )
        for rest in waiting.values():
            for index, message in rest:
                self._warnings.append(
                    f"`messages.{index}` answers no call of the assistant before it "
                    f"(`{(message.tool_call_id or '')[:64]}`) and was left out"
                )
        return tuple(results)

    def _result(self, call: ToolCall, message: _Message, index: int) -> ToolResult:
        return ToolResult(
            call_id=call.id,
            sent_id=call.sent_id,
            name=call.name,
            parts=tuple(read_parts(message.content, f"messages.{index}.content", self._warnings)),
            is_error=message.is_error is True,
            cache=_mark_of(message),
        )


def _says_something(message: _Message) -> bool:
    content = message.content
    if isinstance(content, str):
        has_content = not is_blank(content)
    else:
        has_content = any(
            not is_blank(text) if isinstance(text := part.get("text"), str) else "text" not in part
            for part in content or ()
        )
    return bool(
        has_content
        or message.tool_calls
        or message.images
        or (message.refusal and not is_blank(message.refusal))
    )


def _mark_of(message: _Message) -> CacheMark | None:
    if message.cache_control is None:
        return None
    return read_cache_mark({"cache_control": message.cache_control})


def _details(sent: object) -> list[ReasoningDetail]:
    """Details of a known form; others are of no use to anybody."""
    if not isinstance(sent, list):
        return []
    details: list[ReasoningDetail] = []
    for item in cast("list[object]", sent):
        try:
            details.append(msgspec.convert(item, ReasoningDetail))
        except msgspec.ValidationError:
            continue
    return details


def read_arguments(sent: object) -> Raw:
    """The arguments of a call as a JSON object, whatever the model wrote."""
    if isinstance(sent, dict):
        return Raw(_ENCODER.encode(cast("dict[str, Any]", sent)))
    if not isinstance(sent, str):
        return _EMPTY_OBJECT
    text = sent.strip()
    if not text or text in {"{}", "null"}:
        return _EMPTY_OBJECT
    try:
        value: object = msgspec.json.decode(text)
        if isinstance(value, str):
            # Encoded twice, as small models like to.
            text, value = value, msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return Raw(text.encode())
    return Raw(_ENCODER.encode({"_raw": sent}))
