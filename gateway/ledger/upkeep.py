"""Keeps what Postgres holds in shape: sums up minutes, and forgets what is too old."""

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

import msgspec

from gateway.storage.adjustments import forget_adjustments
from gateway.storage.engine import make_engine
from gateway.storage.health_events import forget_health_events
from gateway.storage.partitions import drop_days
from gateway.storage.rollup_rebuild import give_up_rows
from gateway.storage.rollup_upkeep import (
    forget_minutes,
    forget_quarters,
    sum_quarters,
    thin_pending,
)
from gateway.storage.waiting import DatabaseUnavailableError, bounded, run_bounded

_PAUSE_S = 30.0
_SUM_S = 60.0
_FORGET_EVERY_S = 3600.0
# Detaching waits for whoever reads the table.
_FORGET_S = 600.0
_DISPOSE_S = 1.0

_log = logging.getLogger("tollway.upkeep")


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """For how many days what is kept."""

    rows_days: int
    minutes_days: int
    sums_days: int


class Upkeep:
    """Sums up quarters that are over, and forgets what is too old. ``run`` is its task."""

    def __init__(self, database_url: str, retention: Retention) -> None:
        self._retention = retention
        self._engine = make_engine(
            database_url,
            pool_size=1,
            application_name="tollway upkeep",
            command_timeout_s=None,
            statement_timeout_s=_FORGET_S,
            lock_timeout_s=_SUM_S / 2,
        )
        self._forget_at_s = 0.0
        self._is_well = True

    async def run(self) -> None:
        """Until cancelled; what does not work is tried again."""
        try:
            while True:
                try:
                    await self.sum_up(datetime.now(UTC))
                    if time.monotonic() >= self._forget_at_s:
                        await self.forget(datetime.now(UTC))
                        self._forget_at_s = time.monotonic() + _FORGET_EVERY_S
                except Exception as exc:  # noqa: BLE001 - requests live on; this must too
                    self._tell(exc)
                else:
                    self._is_well = True
                await asyncio.sleep(_PAUSE_S)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connection; waits no longer than a moment."""
        with contextlib.suppress(DatabaseUnavailableError):
            await bounded(self._engine.dispose(), _DISPOSE_S)

    async def sum_up(self, now: datetime) -> None:
        """Sum up every quarter of an hour that is over and has changed.

        Raises:
            DatabaseUnavailableError: Postgres does not answer.
            DBAPIError: it refused.
        """
        await run_bounded(self._engine, thin_pending, seconds=_SUM_S)
        while await run_bounded(
            self._engine, lambda connection: sum_quarters(connection, now), seconds=_SUM_S
        ):
            pass

    async def forget(self, now: datetime) -> None:
        """Drop the days of rows and remove the sums that are older than they shall be.

        Raises:
            DatabaseUnavailableError: Postgres does not answer.
            DBAPIError: it refused.
        """
        kept = self._retention
        midnight = datetime.combine(now.astimezone(UTC).date(), time_of_day(), UTC)
        rows_from = midnight - timedelta(days=kept.rows_days)
        minutes_from = midnight - timedelta(days=kept.minutes_days)
        sums_from = midnight - timedelta(days=kept.sums_days)
        while await run_bounded(
            self._engine,
            lambda connection: forget_minutes(connection, minutes_from),
            seconds=_SUM_S,
        ):
            pass
        await run_bounded(
            self._engine,
            lambda connection: forget_health_events(connection, minutes_from),
            seconds=_SUM_S,
        )
        await run_bounded(
            self._engine,
            lambda connection: forget_quarters(connection, sums_from),
            seconds=_FORGET_S,
        )
        await run_bounded(
            self._engine, lambda connection: give_up_rows(connection, rows_from), seconds=_SUM_S
        )
        dropped = await bounded(drop_days(self._engine, rows_from.date()), _FORGET_S)
        if dropped:
            _log.info("dropped %d partitions of before %s", dropped, rows_from.date())
        await run_bounded(
            self._engine,
            lambda connection: forget_adjustments(connection, rows_from.date()),
            seconds=_FORGET_S,
        )

    def _tell(self, exc: Exception) -> None:
        if not self._is_well:
            return
        self._is_well = False
        if isinstance(exc, DatabaseUnavailableError):
            _log.warning("Postgres does not answer; sums of older minutes wait")
        else:
            _log.error("sums of older minutes wait", exc_info=exc)
