"""What was saved, over records and sums in PostgreSQL; money by hand."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import pytest

from gateway.domain.records import RequestRecord
from gateway.ledger.replaying import Ask
from gateway.ledger.savings import By, SavingsReport, savings_against, savings_of_sums
from gateway.routing.rules.rule_set import NO_RULES, RuleSet
from gateway.storage.engine import Connection
from gateway.storage.ingest import insert_absent
from gateway.storage.keys import insert_key
from gateway.storage.partitions import ensure_partitions
from gateway.storage.replay_rows import Window
from gateway.storage.rows import attempt_rows, record_day, request_row
from gateway.storage.rule_sets import EMPTY_VERSION, add_rule_set, roll_back
from gateway.storage.savings_sums import to_steps
from tests.ledger.logged import decided
from tests.ledger.test_replaying import CATALOGUE, SEARCH, here
from tests.routing.factories import AT, make_inputs, make_request
from tests.routing.rules.applying import rule, rules_of
from tests.storage.samples import make_record, make_stored_key, store

pytestmark = pytest.mark.anyio
T = TypeVar("T")
HOUR = timedelta(hours=1)
DEAR = rule('tighten = { only = ["dear"] }', name="dear")
CHEAP = rule('tighten = { only = ["cheap"] }', name="cheap")
NOBODY = rule('deny = "closed"', name="closed")
# 1,000 tokens in and 500 out cost 0.002 USD at cheap/large, 0.0055 at dear/large, 0.00075 at
# dear/small; free/other has no price.


def asking(connection: Connection) -> Ask:
    async def ask(work: Callable[[Connection], Awaitable[T]]) -> T:
        return await work(connection)

    return ask


def record(at: datetime = AT, *, model: str = "acme/large", **more: Any) -> RequestRecord:
    inputs = msgspec.structs.replace(make_inputs(CATALOGUE, caller=SEARCH), at=at)
    return decided(make_request(model, sort="price"), inputs, **more)


async def against(
    connection: Connection, baseline: str, *, by: By | None = None, sample: int = 1_000
) -> SavingsReport:
    async def tell(_done: int, _of: int) -> None: ...

    return await savings_against(
        asking(connection),
        Window(since=AT - HOUR, until=AT + 9 * HOUR),
        here(SEARCH),
        baseline,
        by=by,
        sample=sample,
        tell=tell,
    )


def money(report: SavingsReport) -> tuple[str, str, str, str]:
    total = report.total
    amounts = (total.baseline_usd, total.cost_usd, total.saved_usd, total.uncovered_cost_usd)
    return tuple(format(amount.normalize(), "f") for amount in amounts)  # pyright: ignore[reportReturnType] - four


async def apply(connection: Connection, text: str, at: datetime) -> None:
    version = rules_of(text).version if text else None
    await add_rule_set(
        connection,
        source=text,
        version=version or EMPTY_VERSION,
        comment=None,
        at=at,
        actor="tests",
    )


async def test_a_fixed_endpoint_is_compared_with_all_that_was_paid(
    connection: Connection,
) -> None:
    await store(
        connection,
        record(),
        # The cheap one failed after all its work and the dear one answered: 0.0075 were paid.
        record(failures=1),
        # Nobody answered: what its attempt cost is not known either.
        record(usage=None),
        record(model="acme/other"),
    )

    report = await against(connection, "dear/large")

    # 0.011 at the baseline less 0.002 and 0.0075; the other's cost is not known.
    assert money(report) == ("0.011", "0.0095", "0.0015", "0")
    assert (report.total.covered_requests, report.total.requests) == (2, 4)
    assert report.total.unpriced_requests == 1
    assert report.uncovered == {"unpriced": 1, "not_answered": 1}
    assert (report.source, report.is_complete, report.sample) == ("records", True, 1_000)


async def test_what_callers_paid_themselves_is_no_part_of_savings(connection: Connection) -> None:
    replace = msgspec.structs.replace
    own = replace(record(), is_paid_by_caller=True)
    # Its plan does not tell, as that of a request whose process died does not.
    await store(connection, record(), own, replace(record(failures=1), is_paid_by_caller=True))

    report = await against(connection, "dear/large", by="model")

    # 0.0055 at the baseline less 0.002, of the one request that the operator paid.
    assert money(report) == ("0.0055", "0.002", "0.0035", "0")
    assert (report.total.requests, report.total.covered_requests) == (1, 1)
    assert (report.total.unpriced_requests, report.uncovered) == (0, {"own_providers": 2})
    assert [(row.group, row.requests) for row in report.rows] == [("acme/large", 1)]


async def test_savings_are_never_lifted_to_zero(connection: Connection) -> None:
    await store(connection, record(failures=1))

    report = await against(connection, "cheap/large")

    # 0.002 at the baseline; 0.002 for the attempt that failed and 0.0055 for the answer.
    assert money(report) == ("0.002", "0.0075", "-0.0055", "0")


async def test_the_dearest_is_of_those_that_might_have_answered(connection: Connection) -> None:
    await store(connection, record(), record(model="acme/small"))

    report = await against(connection, "dearest", by="model")

    # 0.0055 for the one and 0.00075 for the other, which had one endpoint only.
    assert money(report) == ("0.00625", "0.00275", "0.0035", "0")
    assert [(row.group, row.saved_usd) for row in report.rows] == [
        ("acme/large", Decimal("0.0035")),
        ("acme/small", Decimal(0)),
    ]


async def test_the_rules_before_are_those_before_the_ones_in_force_then(
    connection: Connection,
) -> None:
    await apply(connection, DEAR, AT)
    await apply(connection, CHEAP, AT + HOUR)
    await roll_back(connection, None, at=AT + 2 * HOUR, actor="tests")
    dear, cheap = rules_of(DEAR), rules_of(CHEAP)

    def under(rules: RuleSet, hours: float, **more: Any) -> RequestRecord:
        return record(AT + hours * HOUR, rules=rules, **more)

    await store(
        connection,
        # Before there were rules: nothing to compare with.
        under(NO_RULES, -0.5),
        # Under the first, dear ones: without rules it would have gone to the cheap one.
        under(dear, 0.5),
        # Under the cheap ones, after the dear ones.
        under(cheap, 1.5),
        # Under the dear ones again, after the cheap ones; its only attempt is what it cost.
        under(dear, 2.5),
        under(dear, 2.6, version="of a file"),
    )

    report = await against(connection, "previous-rules", by="day")

    assert report.uncovered == {"no_rules_yet": 1, "rules_unknown": 1}
    # Baselines 0.002 + 0.0055 + 0.002; paid 0.0055 + 0.002 + 0.0055; uncovered 0.002 + 0.0055.
    assert money(report) == ("0.0095", "0.013", "-0.0035", "0.0075")
    assert [(row.group, row.covered_requests) for row in report.rows] == [("2026-11-21", 3)]


async def test_what_the_rules_before_would_have_refused_is_not_compared(
    connection: Connection,
) -> None:
    await apply(connection, NOBODY, AT)
    await apply(connection, "", AT + HOUR)
    await store(connection, record(AT + 2 * HOUR))

    report = await against(connection, "previous-rules")

    assert report.uncovered == {"refused_before": 1}
    assert money(report) == ("0", "0", "0", "0.002")


async def test_where_the_rules_before_choose_alike_only_failures_are_lost(
    connection: Connection,
) -> None:
    await apply(connection, CHEAP, AT)
    await store(connection, record(AT + HOUR, rules=rules_of(CHEAP)))

    report = await against(connection, "previous-rules")

    assert money(report) == ("0.002", "0.002", "0", "0")


async def test_the_newest_are_taken_and_it_is_said(connection: Connection) -> None:
    await store(connection, *[record(AT + timedelta(minutes=n)) for n in range(5)])

    report = await against(connection, "dear/large", sample=2)

    assert (report.total.requests, report.is_complete) == (2, False)
    assert report.oldest_at == AT + timedelta(minutes=3)


async def test_an_unknown_endpoint_is_no_baseline(connection: Connection) -> None:
    with pytest.raises(LookupError, match="'openai/gpt-4oo' is no endpoint"):
        await against(connection, "openai/gpt-4oo")


async def test_sums_say_what_records_say_of_the_declared_baseline(
    connection: Connection,
) -> None:
    key = make_stored_key(id=SEARCH.key_id, name="search")
    await insert_key(connection, key, digest=bytes(32))
    records = [
        record(baseline_usd="0.0055"),
        record(AT + HOUR, failures=1, baseline_usd="0.0055"),
        record(AT + timedelta(days=1)),
        # Without a cost of its own a baseline says nothing.
        record(model="acme/other", baseline_usd="0.1"),
        make_record(received_at=AT, cost_usd=Decimal("0.5"), key_id=SEARCH.key_id),
        # What callers pay is nobody's saving, nor missing from what could be compared.
        msgspec.structs.replace(record(baseline_usd="0.0055"), is_paid_by_caller=True),
        msgspec.structs.replace(record(AT + timedelta(hours=30)), is_paid_by_caller=True),
    ]
    await ensure_partitions(connection, {record_day(one) for one in records})
    await insert_absent(
        connection,
        [request_row(one) for one in records],
        [row for one in records for row in attempt_rows(one)],
    )

    total = await savings_of_sums(asking(connection), AT, AT + timedelta(days=2), by=None)
    by_day = await savings_of_sums(asking(connection), AT, AT + timedelta(days=2), by="day")
    by_key = await savings_of_sums(asking(connection), AT, AT + timedelta(days=2), by="key")
    by_provider = await savings_of_sums(
        asking(connection), AT, AT + timedelta(minutes=1), by="provider"
    )

    assert money(total) == ("0.011", "0.0095", "0.0015", "0.502")
    assert (total.total.covered_requests, total.total.requests) == (2, 5)
    assert total.total.unpriced_requests == 1
    assert [(row.group, row.requests, row.saved_usd) for row in by_day.rows] == [
        ("2026-11-21", 4, Decimal("0.0015")),
        ("2026-11-22", 1, Decimal(0)),
    ]
    assert [(row.name, row.requests) for row in by_key.rows] == [("search", 5)]
    assert {row.group: row.uncovered_cost_usd for row in by_provider.rows} == {
        "cheap": Decimal(0),
        "free": Decimal(0),
        None: Decimal("0.5"),
    }
    assert by_provider.until == AT + timedelta(minutes=15)


def test_periods_are_widened_to_quarters_of_an_hour() -> None:
    second = timedelta(seconds=1)
    quarter = timedelta(minutes=15)

    assert to_steps(AT, AT + quarter) == (AT, AT + quarter)
    assert to_steps(AT + second, AT + 2 * second) == (AT, AT + quarter)
    assert to_steps(AT - second, AT + quarter + second) == (AT - quarter, AT + 2 * quarter)
