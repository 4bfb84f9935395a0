"""``tollway rollups``: the sums that the dashboard's charts are drawn from."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, say
from gateway.cli.schema import bring_up_to_date
from gateway.ledger.replaying import credible
from gateway.storage.engine import make_engine, shown_url
from gateway.storage.rollup_rebuild import STEP, rebuild_hour, rebuildable_since
from gateway.storage.waiting import DatabaseUnavailableError, run_bounded

_HOUR_S = 600.0
_LOCK_S = 60.0

rollups = App(name="rollups", help="Make the dashboard's sums anew.")


@rollups.command
def rebuild(
    *,
    since: Annotated[
        str | None, Parameter(help="the first UTC day, such as 2026-11-01; default: all rows")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make sums and histograms anew from the recorded requests, as far back as these are kept.

    Gateways go on serving and recording meanwhile. Doing it again changes nothing.
    """
    first = None if since is None else _day(since)
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        kept_since = ask(database.url, rebuildable_since)
        start = max(filter(None, (first, kept_since)), default=None)
        now = datetime.fromtimestamp(time.time(), UTC)
        # The clocks of other nodes may be ahead.
        end = now + STEP
        if kept_since is None or start is None or start >= end:
            count = 0
        else:
            # Begun hours count.
            hours = -((start - end) // STEP)
            count = asyncio.run(_rebuild(database.url, start, hours, quiet=as_json))
    if as_json:
        print_json({"hours": count, "since": start})
    elif not count:
        say(
            f"There are no recorded requests to sum up{'' if since is None else f' since {since}'}."
        )
    else:
        say(f"Rebuilt {count:,} hours, from {start:%Y-%m-%d %H:%M} UTC.")


async def _rebuild(database_url: str, start: datetime, count: int, *, quiet: bool) -> int:
    """How many hours were rebuilt: the rows of the first may have been dropped meanwhile."""
    rebuilt = 0
    engine = make_engine(
        database_url,
        pool_size=1,
        application_name="tollway rollups",
        command_timeout_s=None,
        statement_timeout_s=_HOUR_S,
        lock_timeout_s=_LOCK_S,
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
            task = bar.add_task("hours", total=count)
            for index in range(count):
                hour = start + index * STEP
                rebuilt += await run_bounded(
                    engine,
                    lambda connection, hour=hour: rebuild_hour(connection, hour),
                    seconds=_HOUR_S,
                )
                bar.advance(task)
    except DatabaseUnavailableError as exc:
        raise CommandError(f"the database at {shown_url(database_url)}: {exc}") from exc
    finally:
        await engine.dispose()
    return rebuilt


def _day(text: str) -> datetime:
    try:
        day = datetime.fromisoformat(text)
    except ValueError as exc:
        raise CommandError(f"--since: {text!r} is not a day; write it as 2026-11-01") from exc
    day = credible(day)
    return day - timedelta(minutes=day.minute, seconds=day.second, microseconds=day.microsecond)
