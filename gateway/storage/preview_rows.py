"""Reads for a preview of prices: what endpoints cost in a period, and their newest attempts."""

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    LargeBinary,
    RowMapping,
    Text,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.adjusted import attempt_adjustments
from gateway.storage.adjustments import attempt_columns, recorded_attempt
from gateway.storage.record_tables import attempt_record, cost_adjustment
from gateway.storage.rollup_source import quarter_of
from gateway.storage.rollup_tables import v_usage_attempt
from gateway.storage.table_kinds import Usd
from pricing.cost import sum_known
from pricing.previewing import EndpointSpend
from pricing.rerating import RecordedAttempt

QUARTER = timedelta(minutes=15)
_ONE_DAY = timedelta(days=1)

Place = tuple[UUID, int]
"""Of an attempt: of which request it is, and its number there."""
_PLACE = struct.Struct("!16sh")


class Places:
    """Where attempts are, in their order: 18 bytes each, since there may be very many."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed) // _PLACE.size

    def pages(self, size: int) -> Iterator[list[Place]]:
        """All of them, so many at once."""
        step = size * _PLACE.size
        for start in range(0, len(self._packed), step):
            page = self._packed[start : start + step]
            yield [(UUID(bytes=one), number) for one, number in _PLACE.iter_unpack(page)]


def whole_quarters(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The quarters of an hour that a period touches, which are what roll-ups tell exactly."""
    begins = _quarter(since)
    ends = _quarter(until)
    return begins, ends if ends == until else ends + QUARTER


async def read_spend(
    connection: AsyncConnection, since: datetime, until: datetime
) -> list[EndpointSpend]:
    """What every endpoint was asked and cost, mirrored requests included."""
    v = v_usage_attempt.c
    rows = await connection.execute(
        select(
            v.endpoint,
            func.max(v.provider).label("provider"),
            # An endpoint that was given to another model meanwhile is still one.
            func.max(v.model).label("model"),
            cast(func.sum(v.attempts), BigInteger).label("attempts"),
            cast(func.sum(v.cost_usd), Usd).label("recorded_usd"),
            cast(func.sum(v.unpriced), BigInteger).label("unpriced"),
        )
        .where(v.at >= since, v.at < until)
        .group_by(v.endpoint)
        .order_by(v.endpoint)
    )
    return [EndpointSpend(**row) for row in rows.mappings()]


async def busy_quarters(
    connection: AsyncConnection, endpoints: Collection[str], since: datetime, until: datetime
) -> list[datetime]:
    """The quarters of an hour in which any of the endpoints was asked, newest first."""
    v = v_usage_attempt.c
    at = quarter_of(v.at)
    rows = await connection.scalars(
        select(at)
        .where(v.at >= since, v.at < until, v.endpoint.in_(list(endpoints)))
        .group_by(at)
        .order_by(at.desc())
    )
    return [one.astimezone(UTC) for one in rows]


async def newest_places(
    connection: AsyncConnection, wanted: Mapping[str, int], at: datetime
) -> Places:
    """Of each endpoint the newest attempts of a quarter of an hour, at most so many as wanted.

    Newest first, whichever endpoint. The rows of the quarter are read for this once.
    """
    shares = (
        func.unnest(
            literal(list(wanted), ARRAY(Text)), literal(list(wanted.values()), ARRAY(BigInteger))
        )
        .table_valued(column("endpoint", Text), column("share", BigInteger))
        .render_derived()
    )
    c = attempt_record.c
    newest_first = [one.desc() for one in (c.started_at, c.request_id, c.number)]
    found = (
        select(
            c.started_at,
            c.request_id,
            c.number,
            shares.c.share,
            func.row_number().over(partition_by=c.endpoint, order_by=newest_first).label("rank"),
        )
        .join(shares, shares.c.endpoint == c.endpoint)
        .where(c.day.between(*_days_of(at)), c.started_at >= at, c.started_at < at + QUARTER)
        .subquery()
    )
    f = found.c
    order = [one.desc() for one in (f.started_at, f.request_id, f.number)]
    place = func.uuid_send(f.request_id, type_=LargeBinary).concat(func.int2send(f.number))
    in_order = aggregate_order_by(literal(b""), *order)
    packed = await connection.scalar(
        select(func.string_agg(place, in_order)).where(f.rank <= f.share)
    )
    return Places(packed or b"")


async def read_attempts(
    connection: AsyncConnection, places: Sequence[Place], at: datetime
) -> list[RecordedAttempt]:
    """Attempts of a quarter of an hour with their corrections, in the order of their places.

    One that was forgotten meanwhile is left out.
    """
    days, ids = _days_of(at), sorted({request_id for request_id, _ in places})
    c, made = attempt_record.c, cost_adjustment.c
    rows = await connection.execute(
        select(*attempt_columns(), c.request_id, c.cost_usd).where(
            c.day.between(*days), c.request_id.in_(ids)
        )
    )
    corrected = attempt_adjustments(made.day.between(*days), made.request_id.in_(ids))
    corrections = await connection.execute(
        select(corrected.c.request_id, corrected.c.number, corrected.c.difference_usd)
    )
    found = {(row["request_id"], row["number"]): row for row in rows.mappings()}
    differences = {(one.request_id, one.number): one.difference_usd for one in corrections}
    return [
        recorded_attempt(found[place], _cost_of(found[place], differences.get(place)))
        for place in places
        if place in found
    ]


def _days_of(quarter: datetime) -> tuple[date, date]:
    # An attempt belongs to the day of its request, and may have begun on the next one.
    return quarter.date() - _ONE_DAY, quarter.date()


def _cost_of(row: RowMapping, correction: Decimal | None) -> Decimal | None:
    recorded: Decimal | None = row["cost_usd"]
    return recorded if correction is None else sum_known(recorded or Decimal(0), correction)


def _quarter(at: datetime) -> datetime:
    at = at.astimezone(UTC)
    return at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)
