"""What a gateway would have believed of its providers, had it made the made-up attempts.

A day is watched by a board of its own, so that days can be written side by side and written again:
the same attempts give the same changes.
"""

import random
from datetime import UTC, datetime
from hashlib import sha256
from heapq import heappop, heappush

from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.execution.health import HealthBoard
from gateway.execution.health_events import HealthEvents
from gateway.notices.health_log import as_row
from gateway.storage.health_events import StoredHealthEvent
from pricing.catalogue import Catalogue

NODE = "demo"
_BEGINS, _ENDS = 0, 1


class Witness:
    """Sees the requests of a day in the order in which they came."""

    def __init__(self, catalogue: Catalogue, *, name: str) -> None:
        """Begin to watch.

        Args:
            catalogue: with every endpoint that is going to be called.
            name: of the day and whatever it depends on; chance and ids follow from it.
        """
        self._endpoints = catalogue.endpoints_by_id
        self._run = int.from_bytes(sha256(name.encode()).digest()[:8])
        self._now_s = 0.0
        self._events = HealthEvents(clock=self._clock, wall_clock=self._clock, is_logged=False)
        by_provider: dict[str, list[str]] = {}
        for endpoint in self._endpoints.values():
            by_provider.setdefault(endpoint.provider, []).append(endpoint.id)
        self._board = HealthBoard(
            clock=self._clock,
            chance=random.Random(name).random,  # noqa: S311 - no secret
            endpoints_of=lambda provider: by_provider.get(provider, ()),
            is_alive=lambda _: True,
            events=self._events,
        )
        self._due: list[tuple[float, int, int, AttemptRecord]] = []
        self._count = 0
        self._rows: list[StoredHealthEvent] = []

    def see(self, record: RequestRecord) -> None:
        """Take a request's attempts into account, each at its time."""
        self._go_to(record.received_at.timestamp())
        for attempt in record.attempts:
            begins_s = attempt.started_at.timestamp()
            for at_s, what in ((begins_s, _BEGINS), (begins_s + attempt.duration_ms / 1000, _ENDS)):
                self._count += 1
                heappush(self._due, (at_s, self._count, what, attempt))

    def changes(self) -> list[StoredHealthEvent]:
        """Every change of the day; call it once no request follows."""
        self._go_to(float("inf"))
        return self._rows

    def _go_to(self, at_s: float) -> None:
        while self._due and self._due[0][0] <= at_s:
            self._now_s, _, what, attempt = heappop(self._due)
            start = AttemptStart(
                number=attempt.number,
                kind=attempt.kind,
                endpoint=self._endpoints[attempt.endpoint],
                price=None,
                started_at=attempt.started_at,
            )
            if what == _BEGINS:
                if self._board.may_try(start.endpoint):
                    self._board.begin(start)
            else:
                self._board.report(_end_of(start, attempt))
            # Numbers count from 1, so as many were seen as there are rows.
            new = self._events.since(len(self._rows))
            self._rows.extend(as_row(event, node=NODE, run=self._run) for event in new)

    def _clock(self) -> float:
        return self._now_s


def _end_of(start: AttemptStart, attempt: AttemptRecord) -> AttemptEnd:
    return AttemptEnd(
        start=start,
        outcome=attempt.outcome,
        status_code=attempt.status_code,
        error_code=attempt.error_code,
        ttft_ms=attempt.ttft_ms,
        duration_ms=attempt.duration_ms,
        usage=attempt.usage,
        retry_after_ms=attempt.retry_after_ms,
    )


def name_of(seed: int, at: datetime) -> str:
    """Of the day that an instant lies in."""
    return f"{seed}/{at.astimezone(UTC).date()}"
