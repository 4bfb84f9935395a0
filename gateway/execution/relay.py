"""One streamed answer: reads it event by event, within its deadlines."""

import time

from gateway.domain.outcomes import Outcome
from gateway.execution.attempt import Attempt
from gateway.execution.deadlines import Deadlines
from gateway.execution.time_limit import TimeLimit
from gateway.execution.upstream import OpenStream
from gateway.providers.base import Fault, FaultError, StreamEvent


class Relay:
    """The events of a stream that has begun to speak.

    ``begin`` reads up to the first content: until it returns, another endpoint may still answer.
    ``next`` then yields the events in the order they came, the first ones included.
    """

    __slots__ = (
        "_attempt",
        "_deadlines",
        "_events",
        "_fault",
        "_is_ended",
        "_last_event_s",
        "_stream",
        "_until_s",
    )

    def __init__(
        self, stream: OpenStream, attempt: Attempt, deadlines: Deadlines, *, until_s: float
    ) -> None:
        self._stream = stream
        self._attempt = attempt
        self._deadlines = deadlines
        self._until_s = until_s
        self._events: list[StreamEvent] = []
        self._fault: Fault | None = None
        self._is_ended = False
        self._last_event_s = time.monotonic()

    @property
    def attempt(self) -> Attempt:
        return self._attempt

    async def begin(self) -> None:
        """Read until the first content, or to the end of a stream without any.

        The caller sets the deadline.

        Raises:
            FaultError: the stream failed before it said anything.
        """
        while True:
            events = await self._read()
            for event in events:
                if event.fault is not None:
                    raise FaultError(event.fault)
            self._events.extend(events)
            if self._is_ended or any(
                event.has_content or event.finish_reason is not None for event in events
            ):
                return

    async def next(self) -> list[StreamEvent] | None:
        """The next events; None when the stream is over.

        Raises:
            FaultError: it broke, was cut off, carried an error, or fell silent.
        """
        while True:
            if self._fault is not None:
                raise FaultError(self._fault)
            if self._events:
                events, self._events = self._events, []
                return events
            if self._is_ended:
                return None
            now_s = time.monotonic()
            # Comments and pings move the near deadline, never past the grace after a real event.
            wait_until_s = min(
                now_s + self._deadlines.idle_s,
                self._last_event_s + max(self._deadlines.ping_grace_s, self._deadlines.idle_s),
                self._until_s,
            )
            try:
                with TimeLimit(wait_until_s - now_s):
                    events = await self._read()
            except TimeoutError as exc:
                raise FaultError(self._silence()) from exc
            for position, event in enumerate(events):
                if event.fault is not None:
                    # What came before the error still belongs to the client.
                    self._fault = event.fault
                    events = events[:position]
                    break
            if events:
                return events

    async def aclose(self) -> None:
        """Stop the provider if it is still speaking."""
        await self._stream.aclose()

    async def _read(self) -> list[StreamEvent]:
        data = await self._stream.read()
        if data is None:
            self._is_ended = True
            events = self._stream.decoder.end()
        else:
            events = self._stream.decoder.feed(data)
        for event in events:
            self._attempt.observe_event(event)
        if events:
            self._last_event_s = time.monotonic()
        return events

    def _silence(self) -> Fault:
        if time.monotonic() >= self._until_s:
            return Fault(
                outcome=Outcome.TOTAL_TIMEOUT, message="the request's whole time is used up"
            )
        return Fault(
            outcome=Outcome.IDLE_TIMEOUT,
            message=f"nothing more came for {self._deadlines.idle_s:g} s",
        )
