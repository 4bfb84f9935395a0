"""What was saved: from the sums, or from the records against a baseline they were not given."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

from gateway.ledger.baselines import BaselineOf, Reason, Uncovered, baseline_named
from gateway.ledger.replaying import Ask, Tell, logged_requests
from gateway.routing.logged import LoggedRequest
from gateway.routing.replaying import Installation
from gateway.storage.engine import Connection
from gateway.storage.replay_rows import Window, count_logged
from gateway.storage.savings_sums import read_key_names, read_savings, to_steps
from pricing.savings import Savings, SavingsTally

By: TypeAlias = Literal["day", "provider", "model", "key"]
RECORDED = "recorded"
"""The baseline that was declared when each request was answered."""


class SavingsRow(Savings, frozen=True, kw_only=True):
    """Savings of one group."""

    group: str | None
    """A UTC day, a provider, a model or the id of a key; None where nobody served."""
    name: str | None = None
    """Of the key."""


class SavingsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was saved against a baseline, and how much of the traffic that says something about."""

    baseline: str
    """``recorded``, an endpoint, ``dearest`` or ``previous-rules``."""
    source: Literal["sums", "records"]
    """Sums hold all requests of the period, records the newest so many."""
    since: datetime
    """The first instant that counts."""
    until: datetime
    """The first that does not count any more."""
    by: By | None
    sample: int | None
    """The most records that were to be looked at; None for sums."""
    is_complete: bool
    """There are no more requests in the period."""
    oldest_at: datetime | None
    """When the oldest record that was looked at came; None for sums and without any."""
    total: Savings
    rows: tuple[SavingsRow, ...]
    """By day in their order, otherwise those with the most cost first."""
    uncovered: dict[str, int]
    """Why requests have no baseline, where that is known; empty for sums. Those that their callers
    paid stand here alone."""


async def savings_of_records(
    ask: Ask,
    window: Window,
    baseline_of: BaselineOf,
    *,
    baseline: str,
    by: By | None,
    sample: int,
    tell: Tell,
    names: Mapping[str, str],
) -> SavingsReport:
    """Savings over the newest requests of a window.

    Args:
        ask: for each page of requests.
        window: which requests.
        baseline_of: what each is compared with.
        baseline: what that is called.
        by: what to group by, besides the total.
        sample: how many requests at most.
        tell: of progress.
        names: of keys, by id.
    """
    total, groups = SavingsTally(), dict[str | None, SavingsTally]()
    uncovered: Counter[str] = Counter()
    oldest_at: datetime | None = None
    of = await ask(functools.partial(count_logged, window=window, most=sample + 1))
    done = 0
    async for logged in logged_requests(ask, window, most=sample):
        found = await _baseline_of(logged, baseline_of)
        if isinstance(found, StrEnum):
            uncovered[found.value] += 1
        # What its caller paid cost the operator nothing, and would have cost nothing elsewhere.
        if found is not Uncovered.OWN_PROVIDERS:
            baseline_usd = None if isinstance(found, StrEnum) else found
            for tally in (total, *_group(groups, by, logged)):
                tally.add(baseline_usd, logged.cost_usd)
        oldest_at = logged.received_at
        done += 1
        await tell(done, min(of, sample))
    return SavingsReport(
        baseline=baseline,
        source="records",
        since=window.since,
        until=window.until,
        by=by,
        sample=sample,
        is_complete=of <= sample,
        oldest_at=oldest_at,
        total=total.savings,
        rows=in_order(by, {group: tally.savings for group, tally in groups.items()}, names=names),
        uncovered=dict(uncovered.most_common()),
    )


async def savings_against(
    ask: Ask,
    window: Window,
    here: Installation,
    baseline: str,
    *,
    by: By | None,
    sample: int,
    tell: Tell,
) -> SavingsReport:
    """Savings over the newest requests of a window, against a baseline by its name.

    Raises:
        LookupError: it names no endpoint; the message ends with the nearest.
    """
    baseline_of = await baseline_named(ask, here, baseline)
    return await savings_of_records(
        ask,
        window,
        baseline_of,
        baseline=baseline,
        by=by,
        sample=sample,
        tell=tell,
        names=await ask(read_key_names) if by == "key" else {},
    )


async def savings_of_sums(
    ask: Ask, since: datetime, until: datetime, *, by: By | None
) -> SavingsReport:
    """Savings over all requests of a period, against the baselines they were answered with.

    The period is widened to whole quarters of an hour.
    """
    since, until = to_steps(since, until)

    async def look(connection: Connection) -> tuple[Savings, dict[str | None, Savings]]:
        total = (await read_savings(connection, since, until, by=None))[None]
        return total, await read_savings(connection, since, until, by=by) if by else {}

    total, groups = await ask(look)
    return SavingsReport(
        baseline=RECORDED,
        source="sums",
        since=since,
        until=until,
        by=by,
        sample=None,
        is_complete=True,
        oldest_at=None,
        total=total,
        rows=in_order(by, groups, names=await ask(read_key_names) if by == "key" else {}),
        uncovered={},
    )


def in_order(
    by: By | None, groups: Mapping[str | None, Savings], *, names: Mapping[str, str]
) -> tuple[SavingsRow, ...]:
    """Rows of groups, by day or by cost."""
    rows = [
        SavingsRow(
            **msgspec.structs.asdict(savings),
            group=group,
            name=names.get(group or "") if by == "key" else None,
        )
        for group, savings in groups.items()
    ]
    if by == "day":
        rows.sort(key=lambda row: row.group or "")
    else:
        rows.sort(key=lambda row: (-row.cost_usd, -row.uncovered_cost_usd, row.group or ""))
    return tuple(rows)


async def _baseline_of(logged: LoggedRequest, baseline_of: BaselineOf) -> Decimal | Reason:
    if logged.is_paid_by_caller:
        return Uncovered.OWN_PROVIDERS
    if logged.answer is None or logged.answer.usage is None:
        return Uncovered.NOT_ANSWERED
    if logged.cost_usd is None:
        return Uncovered.UNPRICED
    return await baseline_of(logged)


def _group(
    groups: dict[str | None, SavingsTally], by: By | None, logged: LoggedRequest
) -> tuple[SavingsTally, ...]:
    if by is None:
        return ()
    return (groups.setdefault(_GROUPS[by](logged), SavingsTally()),)


_GROUPS: Mapping[By, Callable[[LoggedRequest], str | None]] = {
    "day": lambda logged: logged.received_at.date().isoformat(),
    "provider": lambda logged: logged.used_provider,
    "model": lambda logged: logged.used_model,
    "key": lambda logged: str(logged.key_id),
}
