"""Stores hours of the made-up past as the shipper stores records, and says how far it has come."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime

from gateway.demo.health import Witness, name_of
from gateway.demo.timetable import Slot
from gateway.demo.traffic import Author
from gateway.domain.records import RequestRecord
from gateway.storage.charging import Charged, charge_new
from gateway.storage.engine import Connection, Engine
from gateway.storage.health_events import StoredHealthEvent, add_health_events
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import days_ahead, ensure_partitions
from gateway.storage.rollup_upkeep import note_sizes, sum_quarters
from gateway.storage.rows import attempt_rows, record_day, request_row
from gateway.storage.waiting import run_bounded

BATCH = 4_000
_STORE_S = 60.0
_WRITER = "demo"


async def make_partitions(engine: Engine, slots: Iterable[Slot]) -> None:
    """Make the days of the past, and those that the gateway is going to need."""
    days: set[date] = {slot.since.date() for slot in slots}
    days.update(days_ahead(datetime.now(UTC).date()))
    await run_bounded(
        engine, lambda connection: ensure_partitions(connection, days), seconds=_STORE_S
    )


async def store_hours(
    engine: Engine, author: Author, slots: Iterable[Slot], on_stored: Callable[[int], None]
) -> None:
    """Write and store the records of these hours; those that are there already stay as they are."""
    batch: list[RequestRecord] = []
    day, witness = "", None
    for slot in slots:
        if day != name_of(author.world.seed, slot.since):
            await _store_changes(engine, witness)
            day = name_of(author.world.seed, slot.since)
            witness = Witness(author.world.catalogue, name=day)
        for record in author.hour(slot):
            batch.append(record)
            if witness is not None:
                witness.see(record)
        if len(batch) >= BATCH:
            await _store(engine, batch)
            on_stored(len(batch))
            batch = []
    if batch:
        await _store(engine, batch)
        on_stored(len(batch))
    await _store_changes(engine, witness)


async def sum_up(engine: Engine, now: datetime) -> None:
    """Sum the minutes up, as the gateway would by and by."""
    await run_bounded(engine, note_sizes, seconds=_STORE_S)
    while await run_bounded(
        engine, lambda connection: sum_quarters(connection, now), seconds=_STORE_S
    ):
        pass
    await run_bounded(engine, note_sizes, seconds=_STORE_S)


async def _store_changes(engine: Engine, witness: Witness | None) -> None:
    changes = witness.changes() if witness is not None else []
    for start in range(0, len(changes), BATCH):
        part: list[StoredHealthEvent] = changes[start : start + BATCH]
        await run_bounded(
            engine,
            lambda connection, part=part: add_health_events(connection, part),
            seconds=_STORE_S,
        )


async def _store(engine: Engine, records: list[RequestRecord]) -> None:
    requests = [request_row(record) for record in records]
    attempts = [row for record in records for row in attempt_rows(record)]
    charged = [
        Charged(id=record.id, day=record_day(record), charge=record.charge)
        for record in records
        if record.charge is not None
    ]

    async def store(connection: Connection) -> None:
        await insert_absent(connection, requests, attempts)
        await charge_new(connection, _WRITER, charged)

    await run_bounded(engine, store, seconds=_STORE_S)
