"""How far the data reaches. Pure."""

from datetime import datetime, timedelta

import msgspec
import polars as pl

_STALE_AFTER = timedelta(seconds=60)
_GONE_AFTER = timedelta(days=1)


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How far the data reaches, over all workers that ship records."""

    data_to: datetime | None
    """Everything answered before is in the database; None when no worker ever shipped."""
    is_stale: bool
    backlog_bytes: int
    backlog_records: int = 0
    """About so many wait in spools."""


def freshness(watermarks: pl.DataFrame, now: datetime) -> Freshness:
    """From `schemas.FRESHNESS`. Idle is fresh; a worker long gone with nothing left is left out."""
    data_to: list[datetime] = []
    backlog_bytes = backlog_records = 0
    for row in watermarks.iter_rows(named=True):
        if not row["backlog_bytes"] and now - row["updated_at"] > _GONE_AFTER:
            continue
        waiting_since = row["oldest_unshipped_at"] if row["backlog_bytes"] else None
        data_to.append(min(waiting_since or row["updated_at"], row["updated_at"]))
        backlog_bytes += row["backlog_bytes"]
        backlog_records += row["backlog_records"]
    earliest = min(data_to, default=None)
    return Freshness(
        data_to=earliest,
        is_stale=earliest is None or now - earliest > _STALE_AFTER,
        backlog_bytes=backlog_bytes,
        backlog_records=backlog_records,
    )
