"""Corrects what recorded attempts cost under the prices believed now, in batches; says what it did.

Each batch is a transaction of its own that reads, computes and adds, with other runs waiting. So a
run that is broken off has done part of the work, and the next one does the rest; a run after a
finished one finds nothing to do. The first transaction that corrects something writes into the
audit log that a run began, so that none is without a word there; the end adds what it came to.
"""

import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec

from gateway.storage.adjustments import (
    RecordedRequest,
    Span,
    add_adjustments,
    count_by_day,
    first_attempt_day,
    lock_adjustments,
    read_requests,
)
from gateway.storage.audit import add_entry
from gateway.storage.engine import Connection
from pricing.catalogue import Catalogue
from pricing.cost import sum_known
from pricing.rerating import Correction, Verdict, rerate_request

T = TypeVar("T")
BATCH_REQUESTS = 1_000


class Ask(Protocol):
    """Runs work in one transaction and commits."""

    def __call__(self, work: Callable[[Connection], Awaitable[T]]) -> Awaitable[T]: ...


class DifferenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What changed for one day, provider, model and key."""

    day: date
    provider: str
    model: str
    key_id: UUID
    attempts: int
    """Those whose cost is another one now."""
    old_usd: Decimal
    """Of the costs that were known."""
    new_usd: Decimal
    difference_usd: Decimal


class RerateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found, and did unless it was a dry one."""

    since: datetime
    until: datetime
    first_day: date | None
    """The oldest day of which raw records are kept: nothing before it can be corrected."""
    is_dry_run: bool
    verdicts: dict[Verdict, int]
    """Attempts by what was found of them."""
    difference_usd: Decimal
    rows: tuple[DifferenceRow, ...]
    unpriced_endpoints: tuple[str, ...]
    """Endpoints that are unknown now, or without a price at the time of some attempts."""


async def rerate_span(
    ask: Ask,
    catalogue: Catalogue,
    span: Span,
    *,
    is_dry_run: bool,
    at: datetime,
    actor: str,
    reason: str,
    on_progress: Callable[[int, int], object] = lambda _done, _of: None,
    batch_requests: int = BATCH_REQUESTS,
) -> RerateReport:
    """Correct every attempt of the span.

    Args:
        ask: for each batch.
        catalogue: the tables with the operator's changes, for all times.
        span: which attempts.
        is_dry_run: only report; the same figures as the run that follows.
        at: now, aware UTC.
        actor: who corrects.
        reason: for whoever looks at a corrected cost.
        on_progress: told how many attempts were looked at, and of how many.
        batch_requests: how many are read at once.
    """
    begins = await ask(first_attempt_day)
    counts = await ask(lambda connection: count_by_day(connection, span))
    of, done = sum(counts.values()), 0
    tally = _Tally()
    run = _Run(
        catalogue=catalogue,
        span=span,
        is_dry_run=is_dry_run,
        at=at,
        actor=actor,
        reason=reason,
        limit=batch_requests,
    )
    on_progress(done, of)
    for day in counts:
        after: UUID | None = None
        while True:
            is_first = not tally.verdicts["adjusted"]
            batch = await ask(functools.partial(run.batch, day=day, after=after, is_first=is_first))
            if not batch.requests:
                break
            tally.add(batch)
            after = batch.requests[-1].id
            done += len(batch.verdicts)
            on_progress(done, of)
    rows = tally.rows()
    difference = _sum(row.difference_usd for row in rows)
    if rows and not is_dry_run:
        await ask(
            functools.partial(
                run.note_end, attempts=tally.verdicts["adjusted"], difference_usd=difference
            )
        )
    return RerateReport(
        since=span.since,
        until=span.until,
        first_day=begins,
        is_dry_run=is_dry_run,
        verdicts=dict(tally.verdicts),
        difference_usd=difference,
        rows=rows,
        unpriced_endpoints=tuple(sorted(tally.unpriced)),
    )


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    requests: list[RecordedRequest]
    corrections: list[tuple[RecordedRequest, Correction]]
    verdicts: list[tuple[str, Verdict]]
    """With the endpoint."""


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    catalogue: Catalogue
    span: Span
    is_dry_run: bool
    at: datetime
    actor: str
    reason: str
    limit: int

    async def batch(
        self, connection: Connection, day: date, after: UUID | None, *, is_first: bool
    ) -> _Batch:
        """The next requests of a day: read, computed and, unless the run is dry, corrected.

        ``is_first``: nothing has been corrected in this run.
        """
        if not self.is_dry_run:
            await lock_adjustments(connection)
        requests = await read_requests(connection, self.span, day, after=after, limit=self.limit)
        corrections: list[tuple[RecordedRequest, Correction]] = []
        verdicts: list[tuple[str, Verdict]] = []
        for request in requests:
            corrected, found = rerate_request(request.attempts, request.chosen, self.catalogue)
            corrections += [(request, correction) for correction in corrected]
            chosen = [a.endpoint for a in request.attempts if a.number in request.chosen]
            verdicts += zip(chosen, found, strict=True)
        if corrections and not self.is_dry_run:
            if is_first:
                await self._note(connection, "begun")
            await add_adjustments(
                connection, corrections, at=self.at, actor=self.actor, reason=self.reason
            )
        return _Batch(requests=requests, corrections=corrections, verdicts=verdicts)

    async def note_end(
        self, connection: Connection, *, attempts: int, difference_usd: Decimal
    ) -> None:
        """Say in the audit log what was corrected; each correction says so itself, too."""
        difference = format(difference_usd, "f")
        await self._note(connection, "finished", attempts=attempts, difference_usd=difference)

    async def _note(self, connection: Connection, state: str, **came_to: object) -> None:
        span = self.span
        await add_entry(
            connection,
            at=self.at,
            actor=self.actor,
            action="costs.rerate",
            subject=span.model or span.provider or "all models",
            after={
                "state": state,
                "since": span.since.isoformat(),
                "until": span.until.isoformat(),
                "provider": span.provider,
                **came_to,
                "reason": self.reason,
            },
        )


class _Tally:
    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.unpriced: set[str] = set()
        self._sums: dict[tuple[date, str, str, UUID], list[Any]] = {}

    def add(self, batch: _Batch) -> None:
        for endpoint, verdict in batch.verdicts:
            self.verdicts[verdict] += 1
            if verdict in {"unknown_endpoint", "unpriced"}:
                self.unpriced.add(endpoint)
        for request, correction in batch.corrections:
            attempt, cost = correction.attempt, correction.cost
            key = (request.day, attempt.provider, attempt.model, request.key_id)
            sums = self._sums.setdefault(key, [0, Decimal(0), Decimal(0), Decimal(0)])
            sums[0] += 1
            amounts = (attempt.cost_usd, cost.total_usd, correction.difference_usd)
            for place, amount in enumerate(amounts, start=1):
                sums[place] = sum_known(sums[place], amount or Decimal(0))

    def rows(self) -> tuple[DifferenceRow, ...]:
        return tuple(
            DifferenceRow(
                day=day,
                provider=provider,
                model=model,
                key_id=key_id,
                attempts=sums[0],
                old_usd=sums[1],
                new_usd=sums[2],
                difference_usd=sums[3],
            )
            for (day, provider, model, key_id), sums in sorted(self._sums.items())
        )


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum_known(*amounts) or Decimal(0)
