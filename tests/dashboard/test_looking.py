"""Looking for what is rare: piece by piece it finds what one look at everything would."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import looking, queries, records
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.periods import make_period
from dashboard.search import ANYTHING, Search
from tests.dashboard.conftest import END
from tests.dashboard.test_views import open_view

START = END - timedelta(days=31)
AFTER = END + timedelta(seconds=1)
FOUND: tuple[tuple[Narrowing, Search], ...] = (
    (EVERYTHING._replace(keys=("key 07",)), ANYTHING),
    (EVERYTHING._replace(keys=("key 07", "key 08"), outcomes=("fallback",)), ANYTHING),
    (EVERYTHING._replace(labels=("team=team-2",)), Search(cost_from=Decimal("0.02"))),
    (EVERYTHING._replace(outcomes=("refused",)), ANYTHING),
    (EVERYTHING, Search(status=502)),
)
NOT_FOUND = (EVERYTHING, Search(user="nobody"))


def all_at_once(only: Narrowing, search: Search) -> list[str]:
    found = records.read_requests(START, AFTER, None, 100_000, only=only, search=search)
    return found["id"].to_list()


@pytest.mark.parametrize(("only", "search"), [*FOUND, NOT_FOUND])
@pytest.mark.parametrize("limit", [7, 100_000])
def test_looks_back_that_go_on_find_every_request_once(
    large_url: str, shown: Callable[[str], None], only: Narrowing, search: Search, limit: int
) -> None:
    shown(large_url)
    found: list[str] = []
    before: str | None = None
    looks = 0

    while True:
        # No time at all: each look is at one span.
        look = looking.look_back(
            START, AFTER, before, limit, only=only, search=search, within_s=0.0
        )
        looks += 1
        found.extend(look.rows["id"])
        assert look.rows.height <= limit
        if look.rows.height == limit:
            assert look.looked_to is None
            before = found[-1]
            assert not looking.is_mark(before)
        elif look.looked_to is None:
            break
        else:
            before = look.looked_to
            assert looking.is_mark(before)

    assert found == all_at_once(only, search)
    assert looks > 2, "a month is more than one span"
    assert bool(found) == ((only, search) != NOT_FOUND)


@pytest.mark.parametrize(("only", "search"), FOUND)
def test_looks_ahead_come_back_to_the_newest(
    large_url: str, shown: Callable[[str], None], only: Narrowing, search: Search
) -> None:
    shown(large_url)
    everything = all_at_once(only, search)
    found: list[str] = everything[-1:]
    after = everything[-1]

    while True:
        look = looking.look_ahead(START, AFTER, after, 40, only=only, search=search, within_s=0.0)
        found.extend(look.rows["id"])
        if look.rows.height == 40:
            after = found[-1]
        elif look.looked_to is None:
            break
        else:
            after = look.looked_to

    assert found == everything[::-1]


def test_a_look_without_a_limit_in_time_finds_all_of_it(
    large_url: str, shown: Callable[[str], None]
) -> None:
    shown(large_url)
    only, search = FOUND[1]

    found = looking.find_newest(START, AFTER, 100_000, only=only, search=search)
    newest = looking.find_newest(START, AFTER, 5, only=only, search=search)

    assert found["id"].to_list() == all_at_once(only, search)
    assert newest["id"].to_list() == found["id"].to_list()[:5]


@pytest.mark.parametrize("days", [-40, 2], ids=["before-the-period", "after-it"])
def test_cursors_outside_of_the_period_are_taken_as_they_are(
    large_url: str, shown: Callable[[str], None], days: int
) -> None:
    shown(large_url)
    only, search = FOUND[0]
    cursor = str(records.least_id(END + timedelta(days=days)))

    back = looking.look_back(START, AFTER, cursor, 100_000, only=only, search=search, within_s=None)
    ahead = looking.look_ahead(
        START, AFTER, cursor, 100_000, only=only, search=search, within_s=None
    )

    everything = all_at_once(only, search)
    assert back.rows["id"].to_list() == (everything if days > 0 else [])
    assert ahead.rows["id"].to_list() == ([] if days > 0 else everything[::-1])


@pytest.mark.parametrize(("only", "search"), FOUND)
def test_few_requests_are_looked_at_at_once(
    large_url: str, shown: Callable[[str], None], only: Narrowing, search: Search
) -> None:
    shown(large_url)
    of = make_period("30d", now=END, zone="UTC")
    within_s = looking.time_for(of, 0.0)

    look = looking.look_back(
        START, AFTER, None, 100_000, only=only, search=search, within_s=within_s
    )

    assert within_s is None
    assert look.rows["id"].to_list() == all_at_once(only, search)


def test_what_is_not_looked_for_is_read_at_once(
    large_url: str, shown: Callable[[str], None]
) -> None:
    shown(large_url)

    look = looking.look_back(START, AFTER, None, 100_000, within_s=0.0)

    assert look.rows["id"].to_list() == all_at_once(EVERYTHING, ANYTHING)
    assert look.looked_to is None


def test_a_page_says_how_far_it_looked_and_goes_on_from_there(
    large_url: str, shown: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(large_url)
    monkeypatch.setattr(looking, "FEW", 0)
    monkeypatch.setattr(looking, "FIRST_LOOK_S", 0.0)
    monkeypatch.setattr(looking, "NEXT_LOOK_S", 0.0)

    at = open_view("requests", period="30d", cost_from="1000000")
    assert not at.exception
    assert "Nothing found back to" in texts(at)
    looked_to: list[str] = []

    while "Nothing found back to" in texts(at):
        at.button(key="older").click()
        at.run(timeout=30)
        assert not at.exception
        looked_to.append(str(at.query_params["before"]))

    assert "Nothing older in the last 30 days matches." in texts(at)
    assert at.button(key="older").disabled
    instants = [instant(mark) for mark in looked_to]
    assert instants == sorted(instants, reverse=True)
    assert len(set(instants)) > 2
    at.button(key="newest").click()
    at.run(timeout=30)
    assert "before" not in at.query_params


def texts(at: AppTest) -> str:
    found: list[Any] = [*at.markdown, *at.caption]
    return "\n".join(one.value for one in found)


def instant(mark: str) -> datetime:
    parsed = queries.parse_request_id(mark)
    assert parsed is not None
    return records.instant_of(UUID(parsed))
