"""Looks for what operators should know in this worker, and turns it into notices."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from gateway.domain.notices import Event
from gateway.domain.records import AttemptBegun, LateAttempts, RequestRecord
from gateway.execution.health_events import HealthEvent
from gateway.ledger.journal import Ledger
from gateway.storage.asking import Asker
from gateway.storage.waiting import DatabaseUnavailableError
from gateway.storage.webhooks import tell

SPOOL_LAG_S = 60.0
"""Older records than this that Postgres does not have are told of."""

_LOOK_S = 1.0
_APART = timedelta(minutes=15)
_UNPRICED_APART = timedelta(hours=24)
_LAG_APART_S = 900.0
_MOST_WAITING = 256
_DOWN = frozenset({"opened", "credential out"})
# An endpoint of its own that rests is what fallback is for; these take a provider out.
_LEVELS = ("origin:", "credential:")

_log = logging.getLogger("tollway.notices")


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was seen and is not told yet."""

    kind: str
    subject: str
    details: dict[str, object]
    apart: timedelta


class Unpriced:
    """Endpoints that served without a known price; bounded, and cheap to add to."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def note(self, record: RequestRecord) -> None:
        """Costs a request with a price one comparison."""
        if record.cost_status != "unpriced" or record.is_paid_by_caller:
            return
        for attempt in record.attempts:
            if attempt.cost.status == "unpriced" and len(self._seen) < _MOST_WAITING:
                self._seen[attempt.endpoint] = attempt.model

    def take(self) -> dict[str, str]:
        """Endpoints and their models since last asked."""
        seen, self._seen = self._seen, {}
        return seen


class NoticingLedger:
    """A ledger whose records are looked at after they are written."""

    def __init__(self, ledger: Ledger, unpriced: Unpriced) -> None:
        self._ledger = ledger
        self._unpriced = unpriced

    @property
    def is_writable(self) -> bool:
        return self._ledger.is_writable

    def append_begun(self, begun: AttemptBegun) -> None:
        self._ledger.append_begun(begun)

    def append_record(self, record: RequestRecord) -> None:
        self._ledger.append_record(record)
        self._unpriced.note(record)

    def append_late(self, late: LateAttempts) -> None:
        self._ledger.append_late(late)


class NoticeWatch:
    """Its ``run`` is a task for as long as the worker lives."""

    def __init__(
        self,
        ask: Asker,
        *,
        health_since: Callable[[int], Iterable[HealthEvent]],
        unpriced: Unpriced,
        spool_age_s: Callable[[], float],
        node: str,
        tell_without_database: Callable[[Event], None] | None,
        look_s: float = _LOOK_S,
        lag_s: float = SPOOL_LAG_S,
    ) -> None:
        """Prepare.

        Args:
            ask: of Postgres, in the background.
            health_since: changes of health after the one of a number.
            unpriced: endpoints without a price that served.
            spool_age_s: how old the oldest record is that Postgres does not have.
            node: what operators know this worker by.
            tell_without_database: for what Postgres being away is the cause of; None where
                another worker of the node does that.
            look_s: how often to look.
            lag_s: the age from which records are told of.
        """
        self._ask = ask
        self._health_since = health_since
        self._unpriced = unpriced
        self._spool_age_s = spool_age_s
        self._node = node
        self._tell_without_database = tell_without_database
        self._look_s = look_s
        self._lag_s = lag_s
        self._lag_told_at_s = float("-inf")
        self._last_event = 0
        self._waiting: list[Sighting] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._look()
            if self._waiting:
                await self._tell()
            await asyncio.sleep(self._look_s)

    def _look(self) -> None:
        for event in self._health_since(self._last_event):
            self._last_event = event.number
            if event.change in _DOWN and event.level.startswith(_LEVELS):
                self._see("provider_down", event.level, _about(event), _APART)
        for endpoint, model in self._unpriced.take().items():
            self._see("unpriced_traffic", endpoint, {"model": model}, _UNPRICED_APART)
        age_s, now_s = self._spool_age_s(), time.monotonic()
        if age_s >= self._lag_s and now_s - self._lag_told_at_s >= _LAG_APART_S:
            self._lag_told_at_s = now_s
            self._see("spool_lag", self._node, {"oldest_unshipped_s": round(age_s, 1)}, _APART)
        elif age_s < self._lag_s:
            self._lag_told_at_s = float("-inf")

    def _see(self, kind: str, subject: str, details: dict[str, object], apart: timedelta) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(Sighting(kind=kind, subject=subject, details=details, apart=apart))

    async def _tell(self) -> None:
        while self._waiting:
            one = self._waiting[0]
            try:
                await self._ask(
                    lambda connection, one=one: tell(
                        connection,
                        kind=one.kind,
                        subject=one.subject,
                        details=one.details,
                        apart=one.apart,
                    )
                )
            except DatabaseUnavailableError:
                self._tell_of_lag_from_memory()
                return
            except Exception:  # noqa: BLE001 - a background task lives on
                _log.exception("a notice is lost: %s %s", one.kind, one.subject)
            self._waiting.pop(0)

    def _tell_of_lag_from_memory(self) -> None:
        """Postgres being away is what keeps records in the spool: its own table cannot tell."""
        tell_now = self._tell_without_database
        if tell_now is None:
            return
        for one in [one for one in self._waiting if one.kind == "spool_lag"]:
            self._waiting.remove(one)
            now = datetime.now(UTC)
            tell_now(
                Event(
                    id=f"evt_{self._node}_{int(now.timestamp() * 1000)}",
                    type=one.kind,
                    at=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    subject=one.subject,
                    details=one.details,
                )
            )


def _about(event: HealthEvent) -> dict[str, object]:
    found: dict[str, object] = {"change": event.change}
    if event.outcome is not None:
        found["outcome"] = event.outcome
    if event.for_s is not None:
        found["for_s"] = round(event.for_s, 1)
    return found
