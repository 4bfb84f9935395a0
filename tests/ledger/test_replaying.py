"""Rules tried on records in PostgreSQL: what would go elsewhere, and what that would have cost."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import pytest

from gateway.domain.caller import Caller
from gateway.domain.ids import to_generation_id
from gateway.domain.records import RequestRecord
from gateway.ledger.replaying import EmptyPeriodError, period_of, replay_rules
from gateway.routing.plan import BalanceWeights
from gateway.routing.replaying import Installation
from gateway.routing.replaying_report import ReplayReport
from gateway.routing.rules.rule_set import NO_RULES, RuleSet
from gateway.storage.engine import Connection
from gateway.storage.keys import insert_key
from gateway.storage.replay_rows import Window, read_callers
from pricing.usage import Usage
from tests.ledger.logged import decided
from tests.routing.factories import (
    AT,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_price,
    make_request,
)
from tests.routing.rules.applying import SALT, rule, rules_of
from tests.storage.samples import make_record, make_stored_key, store

pytestmark = pytest.mark.anyio
T = TypeVar("T")
HOUR = timedelta(hours=1)
WINDOW = Window(since=AT - HOUR, until=AT + HOUR)
# Cheap: 1 USD in and 2 out a million tokens; dear: 3 and 5.
CATALOGUE = make_catalogue_of(
    make_endpoint("cheap", price=make_price("1", "2")),
    make_endpoint("dear", price=make_price("3", "5")),
    make_endpoint("dear", "acme/small", price=make_price("0.5", "0.5")),
    make_endpoint("free", "acme/other", price=None),
)
TO_THE_DEAR = rules_of(
    rule('tighten = { only = ["dear"] }', 'labels = { team = "search" }', name="to-the-dear")
)
SEARCH = make_caller(labels={"team": "search"})


def here(*callers: Caller) -> Installation:
    return Installation(
        catalogue=CATALOGUE,
        callers={caller.key_id: caller for caller in callers},
        aliases={},
        slash_pins_provider=True,
        configured_models=frozenset(),
        auto_pool=(),
        fetches_media=False,
        strategy="price-weighted",
        balance=BalanceWeights(),
        salt=SALT,
    )


def record(
    at: datetime = AT, *, caller: Caller = SEARCH, model: str = "acme/large", **more: Any
) -> RequestRecord:
    wishes = more.pop("wishes", {"sort": "price"})
    inputs = msgspec.structs.replace(make_inputs(CATALOGUE, caller=caller), at=at)
    return decided(make_request(model, **wishes), inputs, **more)


async def replay(
    connection: Connection,
    new: RuleSet,
    *,
    old: RuleSet = NO_RULES,
    window: Window = WINDOW,
    sample: int = 1_000,
    callers: tuple[Caller, ...] = (SEARCH,),
    told: list[tuple[int, int]] | None = None,
) -> ReplayReport:
    async def ask(work: Callable[[Connection], Awaitable[T]]) -> T:
        return await work(connection)

    async def tell(done: int, of: int) -> None:
        if told is not None:
            told.append((done, of))

    return await replay_rules(ask, window, here(*callers), old, new, sample=sample, tell=tell)


async def test_what_would_go_elsewhere_is_counted_and_priced(connection: Connection) -> None:
    other = make_caller(labels={"team": "ads"})
    other = msgspec.structs.replace(other, key_id=UUID(int=2))
    moved = [record(AT + timedelta(minutes=n)) for n in range(3)]
    await store(connection, *moved, record(caller=other), record(model="acme/other"))

    report = await replay(connection, TO_THE_DEAR, callers=(SEARCH, other))

    # 1,000 tokens in and 500 out: 0.002 USD at the cheap one, 0.0055 at the dear one.
    assert (report.requests, report.replayed, report.changed) == (5, 5, 4)
    assert report.changed_share == 0.8
    assert report.priced == 3
    assert report.not_priced == {"refused": 1}
    assert report.newly_refused == 1
    assert report.old_cost_usd == Decimal("0.006")
    assert report.new_cost_usd == Decimal("0.0165")
    assert report.difference_usd == Decimal("0.0105")
    assert [(m.from_, m.to, m.requests, m.difference_usd) for m in report.moves] == [
        ("cheap/large", "dear/large", 3, Decimal("0.0105")),
        ("cheap/large", "cheap/large", 1, None),
        ("free/other", None, 1, None),
    ]
    assert report.is_complete
    assert report.reproduced.requests == report.reproduced.same == 5
    first, *_ = report.examples
    assert first.id == to_generation_id(moved[-1].id)
    assert (first.from_, first.to) == ("cheap/large", "dear/large")
    assert (first.old_cost_usd, first.new_cost_usd) == (Decimal("0.002"), Decimal("0.0055"))
    assert first.new_rules == ("to-the-dear",)
    assert len(report.examples) == 4


async def test_a_known_cost_is_never_made_of_an_unknown_one(connection: Connection) -> None:
    await store(connection, record(usage=None), record(model="acme/other"))
    to_small = rules_of(rule('replace_models = ["acme/small"]'))

    report = await replay(connection, to_small)

    assert report.changed == 2
    assert report.priced == 0
    assert report.not_priced == {"not_answered": 1, "no_price": 1}
    assert report.difference_usd == 0


async def test_what_was_denied_and_would_be_served_is_told(connection: Connection) -> None:
    denying = rules_of(rule('deny = "closed"'))
    await store(connection, record(rules=denying))

    report = await replay(connection, NO_RULES, old=denying)

    assert (report.no_longer_refused, report.newly_refused) == (1, 0)
    assert report.examples[0].refusal == "rule_denied"
    # It was never drawn, so that nothing can be compared with a draw.
    assert report.reproduced.requests == 0


async def test_the_newest_are_taken_and_the_period_and_filters_hold(
    connection: Connection,
) -> None:
    other = msgspec.structs.replace(SEARCH, key_id=UUID(int=2))
    newest = record(AT + timedelta(minutes=9))
    await store(
        connection,
        record(AT - 2 * HOUR),
        record(AT - timedelta(minutes=1)),
        record(AT),
        record(AT + timedelta(minutes=5), caller=other),
        record(AT + timedelta(minutes=6), model="acme/small"),
        newest,
        record(AT + HOUR),
    )
    told: list[tuple[int, int]] = []

    two = await replay(connection, TO_THE_DEAR, callers=(SEARCH, other), sample=2, told=told)
    mine = await replay(
        connection,
        TO_THE_DEAR,
        window=msgspec.structs.replace(WINDOW, key_id=other.key_id),
        callers=(other,),
    )
    small = await replay(
        connection, TO_THE_DEAR, window=msgspec.structs.replace(WINDOW, model="acme/small")
    )
    everything = await replay(connection, TO_THE_DEAR, callers=(SEARCH, other), sample=5)

    assert (two.requests, two.is_complete) == (2, False)
    assert two.oldest_at == AT + timedelta(minutes=6)
    assert told == [(1, 2), (2, 2)]
    assert mine.requests == small.requests == 1
    assert (everything.requests, everything.is_complete) == (5, True)


async def test_pages_follow_each_other_over_days(connection: Connection) -> None:
    records = [record(AT - timedelta(minutes=7 * n)) for n in range(450)]
    await store(connection, *records)
    window = Window(since=AT - timedelta(days=3), until=AT + HOUR)

    report = await replay(connection, NO_RULES, window=window)

    assert report.requests == report.replayed == report.reproduced.same == 450
    assert report.oldest_at == AT - timedelta(minutes=7 * 449)
    # 450 answers of 0.002 USD.
    assert report.recorded_cost_usd == Decimal("0.9")


async def test_what_cannot_be_decided_again_is_counted_by_its_reason(
    connection: Connection,
) -> None:
    headers = rules_of(rule('sort = "price"', 'headers = { x-tier = "gold" }'))
    stranger = msgspec.structs.replace(SEARCH, key_id=UUID(int=9))
    old = make_record(received_at=AT, key_id=SEARCH.key_id, plan={"seed": 1, "mode": "weighted"})
    await store(connection, record(), record(caller=stranger), old)

    report = await replay(connection, headers)

    assert report.not_replayed == {"headers": 1, "key_unknown": 1, "no_facts": 1}
    assert (report.requests, report.replayed, report.changed_share) == (3, 0, None)


async def test_usage_and_prices_are_those_of_the_request(connection: Connection) -> None:
    usage = Usage(input_tokens=2_000, cache_read_tokens=0, output_tokens=0, requests=1)
    await store(connection, record(usage=usage, failures=1))

    report = await replay(connection, TO_THE_DEAR)

    # The cheap one failed and the dear one answered; it is the first choice that changes.
    assert report.old_cost_usd == Decimal("0.002")
    assert report.new_cost_usd == Decimal("0.006")
    assert report.recorded_cost_usd == Decimal("0.008")


def test_periods_are_of_the_years_that_records_can_be_from() -> None:
    berlin = timezone(timedelta(hours=1))

    begin, end = period_of(datetime.min.replace(tzinfo=berlin), datetime.max.replace(tzinfo=UTC))
    assert (begin.year, end.year) == (2020, 2100)
    naive, zoned = period_of(datetime(2026, 11, 1), datetime(2026, 11, 1, 2, tzinfo=berlin))  # noqa: DTZ001 - as it is typed
    assert (naive, zoned - naive) == (datetime(2026, 11, 1, tzinfo=UTC), timedelta(hours=1))
    with pytest.raises(EmptyPeriodError):
        period_of(AT, AT)


async def test_keys_that_were_revoked_are_callers_too(connection: Connection) -> None:
    key = make_stored_key(labels={"team": "search"}, revoked_at=AT, allowed_models=("acme/*",))
    await insert_key(connection, key, digest=bytes(32))

    (caller,) = (await read_callers(connection)).values()

    assert (caller.key_id, caller.labels) == (key.id, {"team": "search"})
    assert caller.allowed_models == ("acme/*",)
