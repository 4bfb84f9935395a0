"""Computes again what the newest attempts of a period would have cost under changed prices."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol, TypeVar

from gateway.storage.engine import Connection
from gateway.storage.preview_rows import (
    busy_quarters,
    newest_places,
    read_attempts,
    read_spend,
)
from pricing.catalogue import Catalogue
from pricing.previewing import PreviewedSpend, PreviewTally

T = TypeVar("T")
MOST_ATTEMPTS = 200_000
"""The most that one run reads."""
_PAGE = 250

Tell = Callable[[float], Awaitable[None]]
"""Told how much is done, 0 to 1; may let others go on."""


class Ask(Protocol):
    """Runs work in one transaction."""

    def __call__(self, work: Callable[[Connection], Awaitable[T]]) -> Awaitable[T]: ...


def concerned_endpoints(before: Catalogue, after: Catalogue) -> frozenset[str]:
    """The endpoints that are otherwise in the second catalogue, which was made from the first."""
    known, changed = before.endpoints_by_id, after.endpoints_by_id
    return frozenset(
        endpoint_id
        for endpoint_id in known.keys() | changed.keys()
        if known.get(endpoint_id) is not changed.get(endpoint_id)
        and known.get(endpoint_id) != changed.get(endpoint_id)
    )


async def preview_spend(
    ask: Ask,
    catalogue: Catalogue,
    concerned: frozenset[str],
    *,
    since: datetime,
    until: datetime,
    tell: Tell,
    most: int = MOST_ATTEMPTS,
) -> PreviewedSpend:
    """What a period would have cost.

    Args:
        ask: for each page of attempts.
        catalogue: with the change in force all the time.
        concerned: the endpoints that it changes; what all others cost stays.
        since: a quarter of an hour, inclusive; aware UTC.
        until: a quarter of an hour, exclusive.
        tell: of progress.
        most: how many attempts are read; where there are more, the newest of each endpoint.
    """
    spend = await ask(functools.partial(read_spend, since=since, until=until))
    tally = PreviewTally(catalogue, spend)
    counts = {one.endpoint: one.attempts for one in spend if one.endpoint in concerned}
    wanted = shares(counts, most)
    of, done = max(1, sum(wanted.values())), 0
    quarters: list[datetime] = []
    if wanted:
        quarters = await ask(
            functools.partial(busy_quarters, endpoints=tuple(wanted), since=since, until=until)
        )
    for at in quarters:
        if not wanted:
            break
        places = await ask(functools.partial(newest_places, wanted=dict(wanted), at=at))
        for page in places.pages(_PAGE):
            for attempt in await ask(functools.partial(read_attempts, places=page, at=at)):
                tally.add(attempt)
                done += 1
                wanted[attempt.endpoint] -= 1
                if not wanted[attempt.endpoint]:
                    del wanted[attempt.endpoint]
                await tell(done / of)
    return tally.result(concerned)


def shares(attempts: Mapping[str, int], most: int) -> dict[str, int]:
    """How many attempts of each endpoint are read: all of small ones, and as many of large ones."""
    left = most
    found: dict[str, int] = {}
    ordered = sorted(attempts.items(), key=lambda one: (one[1], one[0]))
    for number, (endpoint, count) in enumerate(ordered):
        share = min(count, left // (len(ordered) - number))
        if share:
            found[endpoint] = share
            left -= share
    return found
