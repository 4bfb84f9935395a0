"""A streamed OpenAI-compatible answer, event by event.

An answer is whole when every choice that began has a finish reason: ``[DONE]`` alone proves
nothing, and its absence neither.
"""

import msgspec
from msgspec import Raw

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, StreamEvent, Target
from gateway.providers.openai_answer import (
    LEFT_OUT,
    bad_response,
    fault_of_raw,
    is_error,
    text_of,
    usage_of,
)
from gateway.providers.openai_choices import (
    CHOICES,
    Choice,
    ChoiceState,
    Members,
    Said,
    has_error,
    is_content,
    is_in_our_shape,
    rewrite_chunk,
    text_bytes,
)
from gateway.providers.refusals import make_fault_in_answer, parse_error_body
from gateway.providers.sse import SseReader
from gateway.providers.usage import Metered, normalise_usage

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_NULL = Raw(b"null")
_DONE = b"[DONE]"
_SILENT = Said()
_NO_USAGE = Metered()
# Enough of a body that is not a stream to tell what it is.
_HEAD_BYTES = 8192
_MOST_CHOICES = 128


class OpenAIStreamDecoder:
    """One streamed answer of an OpenAI-compatible service."""

    __slots__ = (
        "_choices",
        "_flavour",
        "_has_payload",
        "_head",
        "_is_over",
        "_reader",
        "_service_tier",
        "_target",
        "_upstream_id",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self._flavour = target.quirks.usage_flavour
        self._reader = SseReader()
        self._choices: dict[int, ChoiceState] = {}
        self._upstream_id: str | None = None
        self._service_tier: Raw | None = None
        self._is_over = False
        self._has_payload = False
        self._head = b""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes."""
        if self._is_over:
            return []
        if not self._has_payload and len(self._head) < _HEAD_BYTES:
            self._head += data[:_HEAD_BYTES]
        payloads = self._reader.feed(data)
        events = self._read(payloads)
        if self._reader.is_overflowing and not self._is_over:
            events.append(self._stop(bad_response(self._target, 200, "an event above 1 MiB")))
        return events

    def end(self) -> list[StreamEvent]:
        """What the end of the connection completes; a fault when the answer is not whole."""
        if self._is_over:
            return []
        payloads = self._reader.end()
        # Half an event at the end is a cut, not damage.
        events = self._read([payload for payload in payloads if _is_whole(payload)])
        if self._is_over:
            return events
        self._is_over = True
        if not self._is_complete():
            events.append(StreamEvent(fault=self._truncation()))
        return events

    def _read(self, payloads: list[bytes]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for position, payload in enumerate(payloads):
            if not payload or payload.isspace():
                continue
            self._has_payload = True
            if payload.strip() == _DONE:
                events.append(self._done())
            else:
                try:
                    event = self._event(payload, position)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                    event = self._stop(
                        bad_response(self._target, 200, f"an unreadable event: {exc}")
                    )
                if event is not None:
                    events.append(event)
            if self._is_over:
                break
        return events

    def _done(self) -> StreamEvent:
        self._is_over = True
        if self._is_complete():
            return StreamEvent(is_terminal=True)
        return StreamEvent(is_terminal=True, fault=self._truncation())

    def _is_complete(self) -> bool:
        return bool(self._choices) and all(state.is_finished for state in self._choices.values())

    def _truncation(self) -> Fault:
        if not self._has_payload and self._head.strip():
            return self._fault_of_body()
        provider = self._target.endpoint.provider
        return Fault(
            outcome=Outcome.TRUNCATED,
            message=f"{provider} ended the stream without a finish reason",
            status_code=200,
            upstream_id=self._upstream_id,
        )

    def _fault_of_body(self) -> Fault:
        """What came is not an event stream: an error in JSON, or a page."""
        provider = self._target.endpoint.provider
        if self._head.lstrip()[:1] in {b"{", b"["}:
            found = parse_error_body(self._head)
            if found.message and found.message[:1] not in "{[":
                return make_fault_in_answer(found, provider=provider)
        return bad_response(self._target, 200, "something that is not an event stream")

    def _stop(self, fault: Fault) -> StreamEvent:
        self._is_over = True
        return StreamEvent(fault=fault)

    def _event(self, payload: bytes, position: int) -> StreamEvent | None:
        if not payload.isascii():
            payload.decode()
        members = _MEMBERS.decode(payload)
        upstream_id: str | None = None
        if self._upstream_id is None and "id" in members:
            self._upstream_id = upstream_id = text_of(members["id"])
        error = members.get("error")
        if error is not None and is_error(error):
            return self._stop(self._fault(error))
        if self._reader.names.get(position) == "error":
            return self._stop(self._fault(members.get("data", Raw(payload))))
        raw_usage = usage_of(members) if "usage" in members or "x_groq" in members else None
        metered = _NO_USAGE if raw_usage is None else normalise_usage(raw_usage, self._flavour)
        extras = b""
        tier: str | None = None
        for name, raw in members.items():
            if name == "service_tier" and raw != self._service_tier:
                self._service_tier = raw
                tier = text_of(raw)
            if name not in LEFT_OUT:
                extras += b',"%b":%b' % (_name(name), bytes(raw))
        choices = members.get("choices", _NULL)
        typed = CHOICES.decode(choices) if choices != _NULL else []
        if not typed:
            return StreamEvent(
                usage=metered.usage,
                is_usage_doubtful=metered.is_doubtful,
                usage_details=metered.details,
                reported_cost_usd=metered.reported_cost_usd,
                extras=extras,
                service_tier=tier,
                upstream_id=upstream_id,
            )
        for choice in typed:
            if has_error(choice):
                return self._stop(self._fault(choice.error))
        rewritten, reason, native, has_content, size = self._read_choices(choices, typed)
        return StreamEvent(
            choices=rewritten,
            has_content=has_content,
            finish_reason=reason,
            native_finish_reason=native,
            extras=extras,
            usage=metered.usage,
            is_usage_doubtful=metered.is_doubtful,
            usage_details=metered.details,
            reported_cost_usd=metered.reported_cost_usd,
            service_tier=tier,
            upstream_id=upstream_id,
            text_bytes=size,
        )

    def _read_choices(
        self, raw: Raw, typed: list[Choice]
    ) -> tuple[bytes, str | None, str | None, bool, int]:
        """The choices in our shape, finish reason, native one, whether there is content, size."""
        reasons: list[str | None] = []
        changes: list[list[Members] | None] = []
        is_ours, has_content, size = True, False, 0
        first: tuple[str | None, str | None] = (None, None)
        for choice in typed:
            state = self._choices.get(choice.index or 0)
            if state is None:
                state = self._begin(choice.index or 0)
            said = choice.delta or choice.message or _SILENT
            change = state.place_calls(said.tool_calls) if said.tool_calls else None
            reason = state.finish_reason(choice.finish_reason)
            reasons.append(reason)
            changes.append(change)
            if reason is not None and first[0] is None:
                first = (reason, choice.finish_reason)
            is_ours = (
                is_ours
                and change is None
                and choice.message is None
                and is_in_our_shape(choice, said, reason)
            )
            if is_content(said):
                has_content = True
                size += text_bytes(said)
        if is_ours:
            return bytes(raw), first[0], first[1], has_content, size
        natives = [choice.finish_reason for choice in typed]
        return (
            rewrite_chunk(raw, reasons, natives, changes),
            first[0],
            first[1],
            has_content,
            size,
        )

    def _begin(self, index: int) -> ChoiceState:
        if len(self._choices) >= _MOST_CHOICES:
            raise msgspec.DecodeError(f"more than {_MOST_CHOICES} choices")
        state = ChoiceState(f"{self._target.endpoint.id}:{self._upstream_id}:{index}")
        self._choices[index] = state
        return state

    def _fault(self, error: Raw) -> Fault:
        return fault_of_raw(error, self._target, upstream_id=self._upstream_id)


def _name(name: str) -> bytes:
    """A member's name inside quotes."""
    return msgspec.json.encode(name)[1:-1]


def _is_whole(payload: bytes) -> bool:
    text = payload.strip()
    return text == _DONE or (text[:1] == b"{" and text[-1:] == b"}" and _is_json(text))


def _is_json(text: bytes) -> bool:
    try:
        _MEMBERS.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
