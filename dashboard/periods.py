"""Which time is looked at, and in which buckets it is drawn. Pure: now comes in as an argument."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

MONTH, CUSTOM = "month", "custom"
DEFAULT = "7d"


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A period that ends now."""

    length: timedelta
    bucket: timedelta
    words: str


PRESETS: dict[str, Preset] = {
    "1h": Preset(length=timedelta(hours=1), bucket=timedelta(minutes=1), words="last hour"),
    "24h": Preset(length=timedelta(hours=24), bucket=timedelta(minutes=30), words="last 24 hours"),
    "7d": Preset(length=timedelta(days=7), bucket=timedelta(hours=3), words="last 7 days"),
    "30d": Preset(length=timedelta(days=30), bucket=timedelta(hours=12), words="last 30 days"),
    "90d": Preset(length=timedelta(days=90), bucket=timedelta(days=1), words="last 90 days"),
}
CHOICES: tuple[str, ...] = (*PRESETS, MONTH, CUSTOM)

MAX_LENGTH = timedelta(days=400)
"""A longer custom period is cut at its start."""

MINUTE_GRAIN_BELOW = timedelta(minutes=15)
"""Narrower buckets are made of minutes, others of quarters of an hour."""
MINUTES_KEPT = timedelta(days=29)
"""Minutes are not kept for longer, unless configured otherwise."""

_MAX_BARS = 90
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_BUCKETS = tuple(
    timedelta(minutes=minutes) for minutes in (1, 5, 30, 60, 180, 720, 1_440, 2_880, 10_080)
)
_FRESH = timedelta(seconds=15)


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """``start`` inclusive to ``end`` exclusive, aware UTC; ``start`` is the edge of a bucket."""

    start: datetime
    end: datetime
    bucket: timedelta
    zone: str
    """IANA name; days and buckets are cut there."""
    words: str
    shift: timedelta
    """How much earlier the period lies that it is compared with."""
    before_ends_by: datetime | None = None
    """Where that one ends at the latest: a month may be longer than the one before it."""
    is_compared: bool = True
    """Whether the reader wants to see the period before."""

    @property
    def before(self) -> "Period":
        """The period that it is compared with, up to the same moment, to the grain of its sums."""
        grain = timedelta(minutes=1) if self.bucket < MINUTE_GRAIN_BELOW else MINUTE_GRAIN_BELOW
        end = self.end - self.shift
        if self.before_ends_by is not None:
            end = min(end, self.before_ends_by)
        past = timedelta(seconds=end.timestamp() % grain.total_seconds())
        return msgspec.structs.replace(
            self,
            start=self.start - self.shift,
            end=end - past,
            words=f"{self.words} before",
            before_ends_by=None,
        )

    @property
    def origin(self) -> datetime:
        """``start`` on the wall clock of the zone, without a zone: where buckets count from."""
        return self.start.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)

    @property
    def wall_end(self) -> datetime:
        """``end`` on the same clock."""
        return self.end.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)


def make_period(
    choice: str,
    *,
    now: datetime,
    zone: str,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Period:
    """The period that was chosen.

    Args:
        choice: one of `CHOICES`; anything else is the default.
        now: aware.
        zone: IANA name of a known time zone.
        start: for `CUSTOM`, on the wall clock of the zone, inclusive; None is a day before the end.
        end: the same, exclusive; None is now.
    """
    # Rounded up, so that readers within the same seconds share what was read.
    until = _ceil(now.astimezone(UTC))
    if choice == CUSTOM:
        return _custom(until, zone, start, end)
    if choice == MONTH:
        return _month(until, zone)
    preset = PRESETS.get(choice, PRESETS[DEFAULT])
    return Period(
        start=_floor(until - preset.length, preset.bucket, zone),
        end=until,
        bucket=preset.bucket,
        zone=zone,
        words=preset.words,
        shift=preset.length,
    )


def _month(until: datetime, zone: str) -> Period:
    # At midnight of the first there is nothing of the new month yet.
    wall = (until - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    first = wall.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    before = (first - timedelta(days=1)).replace(day=1)
    start = _to_utc(first, zone)
    return Period(
        start=start,
        end=until,
        bucket=timedelta(days=1),
        zone=zone,
        words="this month",
        shift=start - _to_utc(before, zone),
        before_ends_by=start,
    )


def offsets_within(period: Period) -> list[tuple[datetime, timedelta]]:
    """How far the zone's clock is ahead of UTC, each with the instant until which it is.

    There is always one: a month that has just begun is compared with no time at all.
    """
    zone = ZoneInfo(period.zone)
    found: list[tuple[datetime, timedelta]] = []
    at = period.start
    while at < period.end or not found:
        offset, step = _offset(at, zone), _DAY
        after = at
        # Up to where it is another, to the minute.
        while step >= _MINUTE:
            while after < period.end and _offset(after + step, zone) == offset:
                after += step
            step /= 24 if step == _DAY else 60
        at = min(after + _MINUTE, period.end)
        found.append((at, offset))
    return found


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _custom(until: datetime, zone: str, start: datetime | None, end: datetime | None) -> Period:
    last = until if end is None else min(_to_utc(end, zone), until)
    first = last - timedelta(days=1) if start is None else _to_utc(start, zone)
    if first >= last:
        first = last - timedelta(hours=1)
    first = max(first, last - MAX_LENGTH)
    are_minutes_kept = until - first < MINUTES_KEPT
    bucket = next(
        (
            bucket
            for bucket in _BUCKETS
            if (last - first) / bucket <= _MAX_BARS
            and (are_minutes_kept or bucket >= MINUTE_GRAIN_BELOW)
        ),
        _BUCKETS[-1],
    )
    start = _floor(first, bucket, zone)
    # Sums have a grain: an end within it would take some of it along.
    grain = timedelta(minutes=1) if bucket < MINUTE_GRAIN_BELOW else MINUTE_GRAIN_BELOW
    past = timedelta(seconds=last.timestamp() % grain.total_seconds())
    end = last if last == until else last - past + (grain if past else timedelta())
    return Period(
        start=start,
        end=end,
        bucket=bucket,
        zone=zone,
        words="this period",
        shift=_ceil_to(end - start, grain),
    )


def _to_utc(wall: datetime, zone: str) -> datetime:
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _floor(at: datetime, bucket: timedelta, zone: str) -> datetime:
    wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    return _to_utc(midnight + (wall - midnight) // bucket * bucket, zone)


def _ceil_to(length: timedelta, grain: timedelta) -> timedelta:
    return -(-length // grain) * grain


def _ceil(at: datetime) -> datetime:
    past = timedelta(seconds=at.timestamp() % _FRESH.total_seconds())
    return at - past + _FRESH if past else at
