"""A streamed answer of generateContent, event by event.

There is no end marker: an answer is whole when every candidate that began has a finish reason.
Usage is told from the start in each event; what a later one leaves out stands as it was.
"""

from typing import Final

import msgspec
from msgspec import Raw, structs

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, StreamEvent, Target
from gateway.providers.gemini_answer import bad_response, failed_candidate
from gateway.providers.gemini_contents import detail_of_signature, tag_of
from gateway.providers.gemini_errors import read_google_error_in_answer
from gateway.providers.gemini_grounding import annotate, count_searches
from gateway.providers.gemini_names import from_wire_name
from gateway.providers.gemini_parts import (
    RESPONSE,
    Candidate,
    Citations,
    Grounding,
    Part,
    Response,
    id_of_call,
    to_finish,
    to_image,
    to_logprobs,
)
from gateway.providers.gemini_usage import (
    UsageMetadata,
    is_plain,
    merge_usage,
    meter_gemini,
    only_writes_on,
    read_usage_metadata,
)
from gateway.providers.sse import MAX_EVENT_BYTES, SseReader
from gateway.providers.translation.writing import ChunkWriter, reasoning_tail, utf8_size
from pricing.usage import Usage

_ENCODER: Final = msgspec.json.Encoder()
_LARGEST_IMAGE_EVENT: Final = 24 * MAX_EVENT_BYTES
"""Images and sounds come in one event each."""
_HEAD_BYTES: Final = 8192
_MOST_CANDIDATES: Final = 128


class _State:
    """What a stream has said of one candidate."""

    __slots__ = (
        "calls",
        "citations",
        "details",
        "finish",
        "grounding",
        "has_content",
        "images",
        "is_thinking",
        "tail",
        "texts",
        "writer",
    )

    def __init__(self, index: int) -> None:
        self.writer = ChunkWriter(index)
        self.calls = 0
        self.images = 0
        self.details = 0
        self.texts: list[str] = []
        self.has_content = False
        self.is_thinking = False
        self.tail = b""
        self.finish: str | None = None
        self.grounding: Grounding | None = None
        self.citations: Citations | None = None


class GeminiStreamDecoder:
    """One streamed answer of Gemini."""

    __slots__ = (
        "_has_payload",
        "_head",
        "_is_blocked",
        "_is_doubtful",
        "_is_ending",
        "_is_over",
        "_last_raw_usage",
        "_metered",
        "_reader",
        "_states",
        "_tag",
        "_target",
        "_tier",
        "_upstream_id",
        "_usage",
    )

    def __init__(self, target: Target) -> None:
        makes_media = target.endpoint.modalities_out != ("text",)
        self._target = target
        self._tag = tag_of(target)
        self._reader = SseReader(_LARGEST_IMAGE_EVENT if makes_media else MAX_EVENT_BYTES)
        self._states: dict[int, _State] = {}
        self._usage: UsageMetadata | None = None
        self._last_raw_usage = Raw()
        self._metered: Usage | None = None
        self._is_doubtful = False
        self._is_ending = False
        """A candidate has ended: what was held back, or is told with it, counts now."""
        self._tier: str | None = None
        self._upstream_id: str | None = None
        self._is_over = False
        self._is_blocked = False
        self._has_payload = False
        self._head = b""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes."""
        if self._is_over:
            return []
        if not self._has_payload and len(self._head) < _HEAD_BYTES:
            self._head += data[:_HEAD_BYTES]
        events = self._read(self._reader.feed(data))
        if self._reader.is_overflowing and not self._is_over:
            events.append(self._stop(bad_response(self._target, 200, "an event that is too large")))
        return events

    def end(self) -> list[StreamEvent]:
        """What the end of the connection completes; a fault when the answer is not whole."""
        if self._is_over:
            return []
        # Half an event at the end is a cut, not damage.
        events = self._read([one for one in self._reader.end() if _is_whole(one)])
        if self._is_over:
            return events
        self._is_over = True
        if not self._is_complete():
            events.append(StreamEvent(fault=self._truncation()))
        return events

    def _is_complete(self) -> bool:
        if self._is_blocked:
            return True
        return bool(self._states) and all(one.finish is not None for one in self._states.values())

    def _truncation(self) -> Fault:
        provider = self._target.endpoint.provider
        if not self._has_payload and self._head.strip():
            if self._head.lstrip()[:1] in {b"{", b"["} and b'"error"' in self._head:
                return self._fault_of(self._head)
            return bad_response(self._target, 200, "something that is not an event stream")
        return Fault(
            outcome=Outcome.TRUNCATED,
            message=f"{provider} ended the stream without a finish reason",
            status_code=200,
            upstream_id=self._upstream_id,
        )

    def _stop(self, fault: Fault) -> StreamEvent:
        self._is_over = True
        return StreamEvent(fault=structs.replace(fault, upstream_id=self._upstream_id))

    def _fault_of(self, payload: bytes) -> Fault:
        try:
            value: object = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return bad_response(self._target, 200, "an unreadable event")
        return read_google_error_in_answer(value, self._target.endpoint.provider)

    def _read(self, payloads: list[bytes]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for payload in payloads:
            if not payload or payload.isspace() or payload == b"[DONE]":
                continue
            self._has_payload = True
            try:
                response = RESPONSE.decode(payload)
                if not payload.isascii():
                    payload.decode()
                if response.is_error:
                    events.append(self._stop(self._fault_of(payload)))
                else:
                    events += self._events(response)
            except msgspec.ValidationError as exc:
                has_error = b'"error"' in payload
                what = f"an event of an unknown form: {exc}"
                fault = (
                    self._fault_of(payload) if has_error else bad_response(self._target, 200, what)
                )
                events.append(self._stop(fault))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                what = f"an unreadable event: {exc}"
                events.append(self._stop(bad_response(self._target, 200, what)))
            if self._is_over:
                break
        return events

    def _events(self, response: Response) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        is_first = self._upstream_id is None and bool(response.response_id)
        self._upstream_id = self._upstream_id or response.response_id
        for position, candidate in enumerate(response.candidates or ()):
            self._candidate(candidate, candidate.index or position, events)
            if self._is_over:
                return events
        feedback = response.prompt_feedback
        if feedback is not None and feedback.block_reason and not self._states:
            self._is_blocked = True
            choices = ChunkWriter().finish("content_filter", feedback.block_reason)
            events.append(
                StreamEvent(
                    choices=choices,
                    finish_reason="content_filter",
                    native_finish_reason=feedback.block_reason,
                )
            )
        self._account(response, events, is_first=is_first)
        return events

    def _account(self, response: Response, events: list[StreamEvent], *, is_first: bool) -> None:
        """Put the usage so far, and the answer's id, on the last of the events."""
        changes: dict[str, object] = {}
        if is_first:
            changes["upstream_id"] = response.response_id
        raw = response.usage_metadata
        if raw != self._last_raw_usage or self._is_ending:
            self._last_raw_usage = raw
            self._count(raw, changes)
            self._is_ending = False
        if not changes:
            return
        if events:
            events[-1] = structs.replace(events[-1], **changes)
        else:
            events.append(StreamEvent(**changes))  # pyright: ignore[reportArgumentType] -- by name

    def _count(self, raw: Raw, changes: dict[str, object]) -> None:
        found, is_lenient = read_usage_metadata(raw)
        self._is_doubtful = self._is_doubtful or is_lenient
        if found is None and self._usage is None:
            return
        found = found or UsageMetadata()
        tier = found.tier
        if tier is not None and tier != self._tier:
            self._tier = tier
            changes["service_tier"] = tier
        earlier, self._usage = self._usage, found
        if earlier is not None:
            written = found.candidates_token_count
            metered = None if self._is_ending else self._metered
            if metered is not None and written and only_writes_on(earlier, found):
                # Most events: the model wrote more, and nothing else has changed.
                self._metered = structs.replace(metered, output_tokens=written)
                changes["usage"] = self._metered
                changes["is_usage_doubtful"] = self._is_doubtful
                return
            self._usage = merge_usage(earlier, found)
        self._metered = None
        if not self._tells_all(self._usage):
            return
        searches = sum(
            count_searches(one.grounding, self._target.endpoint) for one in self._states.values()
        )
        metered = meter_gemini(self._usage, searches=searches, is_doubtful=self._is_doubtful)
        changes["usage"] = metered.usage
        changes["is_usage_doubtful"] = metered.is_doubtful
        if not metered.is_doubtful and not searches and is_plain(self._usage):
            self._metered = metered.usage

    def _tells_all(self, usage: UsageMetadata) -> bool:
        """Early events may count no output yet: then what was seen tells more."""
        return (
            bool(usage.candidates_token_count)
            or self._is_complete()
            or not any(state.has_content for state in self._states.values())
        )

    def _candidate(self, candidate: Candidate, index: int, events: list[StreamEvent]) -> None:
        state = self._states.get(index)
        if state is None:
            if len(self._states) >= _MOST_CANDIDATES:
                events.append(self._stop(bad_response(self._target, 200, "too many candidates")))
                return
            state = self._states[index] = _State(index)
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._part(part, state, index, events)
        if candidate.logprobs_result is not None and events:
            _add_logprobs(events, to_logprobs(candidate.logprobs_result))
        state.grounding = candidate.grounding_metadata or state.grounding
        state.citations = candidate.citation_metadata or state.citations
        if candidate.finish_reason is not None:
            self._finish(candidate, state, events)

    def _finish(self, candidate: Candidate, state: _State, events: list[StreamEvent]) -> None:
        native = candidate.finish_reason or "STOP"
        reason = to_finish(native, has_calls=state.calls > 0)
        is_silent = not any(one.has_content for one in self._states.values())
        if reason == "error" and is_silent:
            # Nothing was shown yet, so that another attempt may do better.
            fault = failed_candidate(self._target, 200, candidate, self._upstream_id)
            events.append(self._stop(fault))
            return
        # Streamed places count from the start of the whole text.
        found = annotate(state.grounding, state.citations, ["".join(state.texts)])
        if found:
            events.append(StreamEvent(choices=state.writer.annotations(found), has_content=True))
        state.finish = reason
        self._is_ending = True
        events.append(
            StreamEvent(
                choices=state.writer.finish(reason, native),
                finish_reason=reason,
                native_finish_reason=native,
            )
        )

    def _part(self, part: Part, state: _State, index: int, events: list[StreamEvent]) -> None:
        writer = state.writer
        text = part.text
        if part.thought:
            if text:
                events.append(self._think(text, state))
        elif part.function_call is not None:
            self._call(part, state, index, events)
            return
        elif part.inline_data is not None:
            self._media(part, state, index, events)
        else:
            said = text if text is not None else part.said
            if said:
                if state.is_thinking:
                    state.is_thinking = False
                    state.details += 1
                state.texts.append(said)
                state.has_content = True
                events.append(
                    StreamEvent(
                        choices=writer.text(said), has_content=True, text_bytes=utf8_size(said)
                    )
                )
        if part.thought_signature:
            id_ = f"image:{state.images - 1}" if part.inline_data is not None else None
            events.append(self._signature(part.thought_signature, state, id_))

    def _think(self, text: str, state: _State) -> StreamEvent:
        if not state.is_thinking:
            state.is_thinking = True
            state.tail = reasoning_tail(self._tag, state.details)
        state.has_content = True
        choices = state.writer.reasoning_piece(text, state.tail)
        return StreamEvent(choices=choices, has_content=True, text_bytes=utf8_size(text))

    def _signature(self, signature: str, state: _State, id_: str | None) -> StreamEvent:
        if state.is_thinking:
            state.is_thinking = False
            state.details += 1
        detail = detail_of_signature(signature, state.details, self._tag, id_)
        state.details += 1
        return StreamEvent(choices=state.writer.details([detail]))

    def _call(self, part: Part, state: _State, index: int, events: list[StreamEvent]) -> None:
        call = part.function_call
        if call is None:
            return
        seed = f"{self._target.endpoint.id}:{self._upstream_id}:{index}"
        id_ = id_of_call(call, seed, state.calls)
        name, arguments = from_wire_name(call.name), call.arguments
        state.has_content = True
        events.append(
            StreamEvent(
                choices=state.writer.call(state.calls, id_, name, arguments),
                has_content=True,
                text_bytes=utf8_size(name) + utf8_size(arguments),
            )
        )
        state.calls += 1
        if part.thought_signature:
            events.append(self._signature(part.thought_signature, state, id_))

    def _media(self, part: Part, state: _State, index: int, events: list[StreamEvent]) -> None:
        blob = part.inline_data
        if blob is None:
            return
        state.has_content = True
        if blob.mime_type.startswith("image/"):
            state.images += 1
            events.append(
                StreamEvent(choices=state.writer.images([to_image(blob)]), has_content=True)
            )
        elif blob.mime_type.startswith("audio/"):
            # Samples as they come: pcm16 is what streams of sound hold.
            sound = _ENCODER.encode({"id": f"audio_{index}", "data": blob.data})
            events.append(StreamEvent(choices=state.writer.audio(sound), has_content=True))


def _add_logprobs(events: list[StreamEvent], logprobs: Raw) -> None:
    """Beside the last piece of text, where OpenAI has them."""
    choices = events[-1].choices
    end = b',"finish_reason":null}]'
    if choices.endswith(end):
        written = choices.removesuffix(end) + b',"logprobs":' + bytes(logprobs) + end
        events[-1] = structs.replace(events[-1], choices=written)


def _is_whole(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
