"""Goes through logged requests and decides each again: under the rules in force, and others."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, time
from typing import Protocol, TypeVar
from uuid import UUID

from gateway.routing.logged import LoggedRequest, NotReplayed
from gateway.routing.replaying import Installation, ReplayableRules, recall
from gateway.routing.replaying_report import ReplayReport, ReplayTally
from gateway.routing.rules.rule_set import RuleSet
from gateway.storage.engine import Connection
from gateway.storage.replay_rows import Window, count_logged, read_logged
from gateway.storage.rows import FIRST_DAY, LAST_DAY

T = TypeVar("T")
MOST_REQUESTS = 200_000
"""The most that one run looks at."""
USUAL_REQUESTS = 10_000
_PAGE = 100
_FIRST, _LAST = (datetime.combine(day, time(), tzinfo=UTC) for day in (FIRST_DAY, LAST_DAY))

Tell = Callable[[int, int], Awaitable[None]]
"""Told after each request how many were looked at, and of how many; may let others go on."""


class EmptyPeriodError(ValueError):
    """A period ends before it begins."""


class Ask(Protocol):
    """Runs work in one transaction."""

    def __call__(self, work: Callable[[Connection], Awaitable[T]]) -> Awaitable[T]: ...


async def replay_rules(
    ask: Ask,
    window: Window,
    here: Installation,
    old: RuleSet,
    new: RuleSet,
    *,
    sample: int,
    tell: Tell,
) -> ReplayReport:
    """What `new` would have changed about the newest requests of a window.

    Args:
        ask: for each page of requests.
        window: which requests.
        here: what decisions rest on besides.
        old: the rules in force.
        new: the rules to be tried.
        sample: how many requests at most; no more than `MOST_REQUESTS`.
        tell: of progress.
    """
    before, after = ReplayableRules(old), ReplayableRules(new)
    tally = ReplayTally(here.catalogue, old_version=old.version)
    of = await ask(functools.partial(count_logged, window=window, most=sample + 1))
    async for logged in logged_requests(ask, window, most=sample):
        _replay(logged, here, before, after, tally)
        await tell(tally.requests, min(of, sample))
    return tally.report(
        since=window.since,
        until=window.until,
        sample=sample,
        is_complete=of <= sample,
        new_version=new.version,
    )


def period_of(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    """A period in UTC, within the years that records can be from; its end is now unless given.

    Raises:
        EmptyPeriodError: it ends before it begins.
    """
    begin, end = credible(since), credible(until or datetime.now(UTC))
    if end <= begin:
        raise EmptyPeriodError
    return begin, end


def credible(at: datetime) -> datetime:
    """The same in UTC, within the years that records can be from; UTC where it names no zone."""
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    # Compared before it is converted: the first and last instants there are have no other zone.
    return min(max(at, _FIRST), _LAST).astimezone(UTC)


async def logged_requests(ask: Ask, window: Window, *, most: int) -> AsyncIterator[LoggedRequest]:
    """The newest requests of a window, newest first."""
    before: UUID | None = None
    left = min(most, MOST_REQUESTS)
    while left > 0:
        page = await ask(
            functools.partial(read_logged, window=window, before=before, limit=min(_PAGE, left))
        )
        for logged in page:
            yield logged
        if len(page) < min(_PAGE, left):
            return
        left -= len(page)
        before = page[-1].id


def _replay(
    logged: LoggedRequest,
    here: Installation,
    before: ReplayableRules,
    after: ReplayableRules,
    tally: ReplayTally,
) -> None:
    situation = recall(logged, here)
    if isinstance(situation, NotReplayed):
        return tally.skip(logged, situation)
    old = before.decide(situation, here.salt)
    if isinstance(old, NotReplayed):
        return tally.skip(logged, old)
    new = after.decide(situation, here.salt)
    if isinstance(new, NotReplayed):
        return tally.skip(logged, new)
    return tally.add(logged, situation, old, new)
