"""The timeline of the demo tells of the very attempts that its records hold."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from gateway.demo.health import NODE, Witness, name_of
from gateway.demo.timetable import timetable
from gateway.demo.traffic import Author
from gateway.storage.health_events import StoredHealthEvent
from tests.demo.test_traffic import NOW, make_world

REQUESTS = 70_000
DAYS = (NOW.date() - timedelta(days=2), NOW.date())
OUTAGE, LIMITS, SLOW = (
    make_world().incidents[0],
    make_world().incidents[2],
    make_world().incidents[4],
)


def changes(days: Sequence[date] = DAYS) -> list[StoredHealthEvent]:
    world = make_world()
    author = Author(world)
    rows: list[StoredHealthEvent] = []
    slots = timetable(NOW, REQUESTS)
    for day in days:
        of_day = [slot for slot in slots if slot.since.date() == day]
        witness = Witness(world.catalogue, name=name_of(world.seed, of_day[0].since))
        for slot in of_day:
            for record in author.hour(slot):
                witness.see(record)
        rows.extend(witness.changes())
    return rows


@pytest.fixture(scope="module")
def rows() -> list[StoredHealthEvent]:
    return changes()


def test_an_outage_opens_the_breakers_of_its_provider_and_hardly_any_other(
    rows: list[StoredHealthEvent],
) -> None:
    openings = Counter(row.provider for row in rows if row.state == "open")
    of_outage = [row for row in rows if row.provider == OUTAGE.provider and row.state == "open"]

    assert openings[OUTAGE.provider] > 10
    assert openings.total() - openings[OUTAGE.provider] < 10
    inside = [row for row in of_outage if OUTAGE.since <= row.at < OUTAGE.until]
    assert len(inside) >= 0.9 * len(of_outage)
    assert "target" in {row.level for row in inside}


def test_what_opened_is_probed_and_closes_again(rows: list[StoredHealthEvent]) -> None:
    by_endpoint = {
        row.endpoint: row
        for row in rows
        if (row.level, row.provider) == ("target", OUTAGE.provider) and row.state != "cooling"
    }

    assert by_endpoint
    assert any(row.state == "closed" for row in by_endpoint.values())
    assert any(row.state == "half_open" for row in rows)


def test_rate_limits_and_a_slow_day_rest_endpoints(rows: list[StoredHealthEvent]) -> None:
    for incident, reason in ((LIMITS, "rate_limited"), (SLOW, "overloaded")):
        rests = [
            row
            for row in rows
            if row.provider == incident.provider
            and row.state == "cooling"
            and incident.since <= row.at < incident.until
        ]
        assert len(rests) >= 3
        assert {row.reason for row in rests} >= {reason}
        assert all(row.until is not None and row.until > row.at for row in rests)


def test_the_same_day_is_the_same_again(rows: list[StoredHealthEvent]) -> None:
    again = changes(DAYS[:1])

    assert again == rows[: len(again)]
    assert len({row.id for row in rows}) == len(rows)
    assert {row.node for row in rows} == {NODE}
