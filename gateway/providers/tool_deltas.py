"""Gives the tool calls of a stream dense indices and an id each, whatever the service sends.

Several services send index 0 for every call, or none, or whole calls in one chunk; clients put
calls together by index, so that two calls would run into one.
"""

import hashlib

import msgspec
from msgspec import Raw

_EMPTY_TEXT = 2
_OPENINGS = (b'"{', b'{"', b"{}")


class FunctionDelta(msgspec.Struct, kw_only=True, gc=False):
    """A piece of a function call."""

    name: str | None = None
    arguments: Raw = Raw()


class CustomDelta(msgspec.Struct, kw_only=True, gc=False):
    """A piece of a call of a tool that takes free text."""

    name: str | None = None
    input: str | None = None


class ToolDelta(msgspec.Struct, kw_only=True, gc=False):
    """A piece of a tool call as it came."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionDelta | None = None
    custom: CustomDelta | None = None

    @property
    def has_name(self) -> bool:
        """Whether the piece says what is called, as the first piece of a call does."""
        called = self.function or self.custom
        return called is not None and bool(called.name)


class Placement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a piece belongs."""

    index: int
    new_id: str | None = None
    """An id to give the call, when the service gave none; None otherwise."""
    is_as_sent: bool = True
    """The piece can be passed on unchanged."""


class ToolCalls:
    """The calls of one choice so far."""

    __slots__ = ("_by_id", "_by_sent_index", "_count", "_latest", "_seed", "_started")

    def __init__(self, seed: str) -> None:
        """Start; ``seed`` distinguishes the ids that have to be made up."""
        self._seed = seed
        self._count = 0
        self._latest = 0
        self._by_id: dict[str, int] = {}
        self._by_sent_index: dict[int | None, int] = {}
        self._started: set[int] = set()

    def place(self, delta: ToolDelta) -> Placement:
        """Find the call of a piece.

        A known id names its call. A new id with a name begins a call, and so does a name without an
        id where nothing was begun at that index, or where arguments open once more. Anything else
        goes on with the call of its index.
        """
        placement = self._place(delta)
        if delta.function is not None and len(memoryview(delta.function.arguments)) > _EMPTY_TEXT:
            self._started.add(placement.index)
        return placement

    def _place(self, delta: ToolDelta) -> Placement:
        call_id = delta.id or None
        has_name = delta.has_name
        known = self._by_id.get(call_id) if call_id is not None else None
        if known is not None:
            index = known
        elif delta.index in self._by_sent_index and not (
            has_name and (call_id is not None or self._opens_again(delta))
        ):
            index = self._by_sent_index[delta.index]
        elif self._count and call_id is None and not has_name:
            index = self._latest
        else:
            return self._begin(delta, call_id)
        self._latest = index
        return Placement(index=index, is_as_sent=delta.index == index and not _has_object(delta))

    def _opens_again(self, delta: ToolDelta) -> bool:
        """Whole calls without ids, all at one index: each brings a name and fresh arguments."""
        if delta.function is None or self._by_sent_index[delta.index] not in self._started:
            return False
        return bytes(delta.function.arguments)[:2] in _OPENINGS

    def _begin(self, delta: ToolDelta, call_id: str | None) -> Placement:
        index = self._count
        self._count += 1
        self._latest = index
        new_id: str | None = None
        if call_id is None:
            digest = hashlib.sha256(f"{self._seed}:{index}".encode()).hexdigest()
            call_id = new_id = f"call_{digest[:24]}"
        self._by_id[call_id] = index
        self._by_sent_index[delta.index] = index
        return Placement(
            index=index,
            new_id=new_id,
            is_as_sent=delta.index == index and new_id is None and not _has_object(delta),
        )


def _has_object(delta: ToolDelta) -> bool:
    """Whether the arguments came as an object where a string belongs."""
    if delta.function is None:
        return False
    return bytes(delta.function.arguments)[:1] == b"{"


def arguments_as_text(arguments: Raw) -> Raw:
    """Arguments as the string that clients expect."""
    raw = bytes(arguments)
    if raw[:1] == b"{":
        return Raw(msgspec.json.encode(raw.decode()))
    return arguments
