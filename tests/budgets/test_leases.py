"""Leases: whatever workers hold and have spent, together it is never more than the limit."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.domain.budgets import SINCE_EVER
from gateway.domain.wishes import WishError
from gateway.storage.budget_changes import BudgetChange, change_budget
from gateway.storage.budget_issue import BudgetWish, issue_budget
from gateway.storage.budget_views import view_budget
from gateway.storage.budgets import (
    delete_budget,
    find_budget,
    list_budgets,
    load_budgets,
    read_states,
    release_expired,
)
from gateway.storage.changes import BUDGETS, read_epoch
from gateway.storage.granting import Ask, acquire, granting
from gateway.storage.leases import (
    Holding,
    charge,
    free_expired,
    give_back,
    look,
    release_worker,
    renew,
)
from gateway.storage.tables import audit_entry, budget_lease, budget_period, notice
from gateway.storage.tables import budget as budget_table
from tests.storage.samples import engine_of

pytestmark = pytest.mark.anyio
TTL_S = 60.0
FIVE_USD = Decimal("0.000000005")


async def make_budget(connection: AsyncConnection, **wish: Any) -> UUID:
    known: dict[str, Any] = {"name": "b", "limit_usd": Decimal("0.000001"), "everyone": True}
    made = await issue_budget(connection, BudgetWish(**(known | wish)), actor="ann")
    return made.id


async def ask(
    connection: AsyncConnection, budget: UUID, worker: str, *needs: int, **more: Any
) -> Holding:
    """What a worker holds of a total budget after asking for more."""
    wanted = Ask(budget=budget, since=SINCE_EVER, needs=needs, **more)
    (found,) = await acquire(connection, worker, [wanted], ttl_s=TTL_S)
    return found


async def window(connection: AsyncConnection, worker: str | None, budget: UUID) -> Holding:
    _, found = await look(connection, worker, [(budget, SINCE_EVER)])
    return found[budget, SINCE_EVER]


async def test_needs_are_granted_whole_and_in_turn_as_far_as_the_limit_reaches(
    engine: AsyncEngine,
) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)

        first = await ask(connection, budget, "w1", 600, 300, 300, 100)
        second = await ask(connection, budget, "w2", 100)
        third = await ask(connection, budget, "w1", 1)

    assert (first.granted_nusd, first.available_nusd) == (900, 100)
    assert (second.granted_nusd, second.available_nusd) == (100, 0)
    assert third.granted_nusd == 900


async def test_several_windows_are_asked_for_in_one_statement(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budgets = [await make_budget(connection, name=name) for name in "abc"]
        asks = [
            Ask(budget=budget, since=SINCE_EVER, needs=(200 * number,), ahead=50 * number, unit=50)
            for number, budget in enumerate(budgets, 1)
        ]
        first = await acquire(connection, "w1", asks, ttl_s=TTL_S)
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    async with engine.begin() as connection:
        second = await acquire(connection, "w1", asks, ttl_s=TTL_S)

    granted = {holding.budget: holding.granted_nusd for holding in first}
    assert [granted[budget] for budget in budgets] == [250, 500, 750]
    granted = {holding.budget: holding.granted_nusd for holding in second}
    # The last has 250 left, which 600 do not fit into; half of what is left is held ahead.
    assert [granted[budget] for budget in budgets] == [500, 950, 850]
    assert len(statements) == 1


async def test_grants_to_many_at_once_never_exceed_the_limit(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budgets = [await make_budget(connection, name=name) for name in "ab"]

    async def worker(name: str) -> int:
        granted = 0
        for _ in range(10):
            asks = [Ask(budget=one, since=SINCE_EVER, needs=(7, 7), ahead=20) for one in budgets]
            async with engine.begin() as connection:
                found = await acquire(connection, name, asks, ttl_s=TTL_S)
            granted = sum(holding.granted_nusd for holding in found)
        return granted

    granted = await asyncio.gather(*(worker(f"w{number}") for number in range(8)))

    async with engine.begin() as connection:
        for budget in budgets:
            found = await window(connection, None, budget)
            assert found.leased_nusd <= 1000
            assert found.available_nusd < 7
        held = await connection.scalar(select(func.sum(budget_lease.c.granted_nusd)))
        noted = await connection.scalar(select(func.sum(budget_period.c.leased_nusd)))
    assert held == noted == sum(granted)


async def test_a_grant_that_comes_after_its_worker_was_released_grants_nothing(
    engine: AsyncEngine, dsn: str
) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        await ask(connection, budget, "w1", 100)
    looking = engine_of(dsn)
    late = [Ask(budget=budget, since=SINCE_EVER, needs=(100,))]
    statement = granting("w1", late, TTL_S)

    async with engine.connect() as killed, engine.begin() as other:
        await release_worker(other, "w1")
        waiting = asyncio.create_task(killed.execute(statement))
        async with asyncio.timeout(10):
            while not await waits_for_a_lock(looking):  # noqa: ASYNC110 - another process waits
                await asyncio.sleep(0.01)
        await other.commit()
        assert (await waiting).all() == []
        await killed.commit()
    await looking.dispose()

    async with engine.begin() as connection:
        found = await window(connection, None, budget)
    assert (found.leased_nusd, found.available_nusd) == (0, 1000)


async def waits_for_a_lock(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(await connection.scalar(waiting))


async def test_what_is_granted_ahead_is_shared_and_leaves_no_useless_rest(
    engine: AsyncEngine,
) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)

        first = await ask(connection, budget, "w1", ahead=900, unit=30)
        second = await ask(connection, budget, "w2", ahead=900, unit=30)

    # Half of 1000, then half of half of the rest, in whole units.
    assert first.granted_nusd == 480
    assert second.granted_nusd == 120


async def test_charges_move_from_lease_to_spending(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        await ask(connection, budget, "w1", 400)

        await charge(connection, "w1", {(budget, SINCE_EVER): 150})

        found = await window(connection, "w1", budget)
    assert (found.spent_nusd, found.leased_nusd, found.available_nusd) == (150, 250, 600)


async def test_more_than_was_reserved_is_charged_all_the_same(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        await ask(connection, budget, "w1", 100)

        await charge(connection, "w1", {(budget, SINCE_EVER): 150})
        again = await ask(connection, budget, "w1", 50)

    # The debt of 50 is worked off by what is granted next.
    assert (again.spent_nusd, again.leased_nusd) == (150, 0)
    async with engine.begin() as connection:
        found = await window(connection, "w1", budget)
    assert (found.spent_nusd, found.leased_nusd, found.granted_nusd) == (150, 0, 150)


async def test_an_ended_worker_whose_records_are_stored_holds_nothing(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        await ask(connection, budget, "w1", 400)
        await charge(connection, "w1", {(budget, SINCE_EVER): 150})

        await release_worker(connection, "w1")

        found = await window(connection, None, budget)
    assert (found.spent_nusd, found.leased_nusd) == (150, 0)


async def test_who_asks_in_vain_is_heard_by_those_who_hold(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        await ask(connection, budget, "w1", 1000)
        await ask(connection, budget, "w2", 10)

        _, (heard,) = await renew(connection, "w1", [(budget, SINCE_EVER)], ttl_s=TTL_S)
        (left,) = await give_back(connection, "w1", {(budget, SINCE_EVER): 990})
        second = await ask(connection, budget, "w2", 10)

    assert heard.is_wanted
    assert left.granted_nusd == 10
    assert second.granted_nusd == 10


async def test_an_expired_lease_counts_until_it_is_released(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        wanted = Ask(budget=budget, since=SINCE_EVER, needs=(1000,))
        await acquire(connection, "gone", [wanted], ttl_s=0.0)
    async with engine.begin() as connection:
        held = await ask(connection, budget, "w2", 10)
        released = await release_expired(connection, "b", at=datetime.now(UTC), actor="ann")
        free = await ask(connection, budget, "w2", 10)

    assert (held.granted_nusd, held.expired_nusd) == (0, 1000)
    assert released == 1000
    assert free.granted_nusd == 10


async def test_an_installation_may_release_expired_leases_by_itself(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        wanted = Ask(budget=budget, since=SINCE_EVER, needs=(1000,))
        await acquire(connection, "gone", [wanted], ttl_s=0.0)
    async with engine.begin() as connection:
        assert await free_expired(connection, [budget]) == 1000
        (found,) = await acquire(connection, "w2", [wanted], ttl_s=TTL_S)

    assert found.granted_nusd == 1000


async def test_each_threshold_is_told_once(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection, limit_usd=Decimal("0.000000100"))
        for amount in (49, 1, 20, 31):
            await charge(connection, "w1", {(budget, SINCE_EVER): amount})

        rows = (await connection.execute(select(notice).order_by(notice.c.id))).all()

    assert [(row.kind, row.subject, row.details["percent"]) for row in rows] == [
        ("budget_threshold", "b", 50),
        ("budget_threshold", "b", 80),
        ("budget_threshold", "b", 100),
    ]
    assert rows[-1].details["spent_usd"] == "0.000000101"


async def test_a_raised_limit_has_thresholds_of_its_own(engine: AsyncEngine) -> None:
    now = datetime.now(UTC)
    async with engine.begin() as connection:
        budget = await make_budget(connection, limit_usd=Decimal("0.000000100"), period="total")
        await charge(connection, "w1", {(budget, SINCE_EVER): 90})
        await change_budget(
            connection, "b", BudgetChange(limit_usd=Decimal("0.000001")), at=now, actor="ann"
        )
        await charge(connection, "w1", {(budget, SINCE_EVER): 410})

        percents = await connection.scalars(select(notice.c.details).order_by(notice.c.id))

    assert [one["percent"] for one in percents] == [50, 80, 50]


async def test_changes_are_counted_and_audited(engine: AsyncEngine) -> None:
    now = datetime.now(UTC)
    async with engine.begin() as connection:
        await make_budget(connection, labels={"team": "search"}, everyone=False)
        await change_budget(connection, "b", BudgetChange(limit_usd=FIVE_USD), at=now, actor="ben")
        await delete_budget(connection, "b", at=now, actor="cat")

        entries = (await connection.execute(select(audit_entry).order_by(audit_entry.c.id))).all()
        epoch = await read_epoch(connection, BUDGETS)

    assert epoch == 3
    assert [(one.actor, one.action) for one in entries] == [
        ("ann", "budget.create"),
        ("ben", "budget.change"),
        ("cat", "budget.delete"),
    ]
    assert entries[1].before["limit_nusd"] == 1000
    assert entries[1].after["limit_nusd"] == 5
    assert entries[2].after is None


async def test_a_deleted_budget_grants_nothing_and_its_name_is_free(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        await delete_budget(connection, "b", at=datetime.now(UTC), actor="ann")

        wanted = Ask(budget=budget, since=SINCE_EVER, needs=(1,))
        assert await acquire(connection, "w1", [wanted], ttl_s=TTL_S) == []
        assert await load_budgets(connection) == []
        assert await find_budget(connection, "b") is None
        await make_budget(connection)
        assert len(await list_budgets(connection)) == 1


async def test_states_tell_the_window_of_now(engine: AsyncEngine) -> None:
    at = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
    async with engine.begin() as connection:
        budget = await make_budget(connection, period="day")
        day = datetime(2026, 11, 21, tzinfo=UTC)
        await charge(connection, "w1", {(budget, day): 7})

        (state,) = await read_states(connection, await list_budgets(connection), at)

    assert state.holding.spent_nusd == 7
    assert state.since == day
    assert state.until == datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        pytest.param({"limit_usd": Decimal("NaN")}, "limit_usd", id="no-number"),
        pytest.param({"limit_usd": Decimal(-1)}, "limit_usd", id="below-zero"),
        pytest.param({"name": " "}, "name", id="no-name"),
        pytest.param({"name": "team/search"}, "name", id="slash"),
        pytest.param({"name": ".."}, "name", id="parent"),
        pytest.param({"everyone": False}, "kid", id="nobody"),
        pytest.param({"labels": {"team": "a"}}, "kid", id="two-selectors"),
        pytest.param({"kid": "nobody12", "everyone": False}, "kid", id="unknown-key"),
    ],
)
async def test_wishes_that_do_not_hold_together_name_the_field(
    engine: AsyncEngine, wish: dict[str, Any], field: str
) -> None:
    async with engine.begin() as connection:
        with pytest.raises(ValueError, match=rf"^{field}: "):
            await make_budget(connection, **wish)


async def test_a_budget_is_found_by_its_id_whatever_its_name_is(engine: AsyncEngine) -> None:
    now = datetime.now(UTC)
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        # As names could be before they were kept from dividing addresses.
        await connection.execute(update(budget_table).values(name="team/search"))

        view = await view_budget(connection, str(budget), now)
        changed = await change_budget(
            connection, str(budget), BudgetChange(limit_usd=FIVE_USD), at=now, actor="ben"
        )
        deleted = await delete_budget(connection, str(budget), at=now, actor="ben")
        entries = (await connection.execute(select(audit_entry).order_by(audit_entry.c.id))).all()

    assert view is not None
    assert (view.id, view.name) == (budget, "team/search")
    assert changed is not None
    assert deleted is not None
    assert [one.subject for one in entries] == ["b", "team/search", "team/search"]


async def test_a_name_is_taken_once(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await make_budget(connection)
        with pytest.raises(ValueError, match=r"^name: "):
            await make_budget(connection)


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        pytest.param({"name": " "}, "name: ", id="blank"),
        pytest.param({"name": "a\nb"}, "name: .*line breaks", id="line-break"),
        pytest.param({"name": "a\x1b[2Jb"}, "name: .*controls", id="escape"),
        pytest.param({"name": "a\udcffb"}, "name: .*controls", id="half-a-character"),
        pytest.param({"name": "a/b"}, "name: .*slash", id="slash"),
        pytest.param({"everyone": False, "labels": {"a": "b\n"}}, "labels: .*breaks", id="label"),
        pytest.param({"limit_usd": Decimal("0.0000000001")}, "limit_usd: .*9 dec", id="exact"),
        pytest.param({"limit_usd": Decimal("1.1234567891")}, "limit_usd: .*9 dec", id="exacter"),
        pytest.param({"limit_usd": Decimal("NaN")}, "limit_usd: ", id="no-number"),
        pytest.param({"limit_usd": Decimal(-1)}, "limit_usd: ", id="negative"),
        pytest.param({"limit_usd": Decimal("1E+30")}, "limit_usd: ", id="huge"),
    ],
)
async def test_a_wish_that_cannot_be_names_the_field_and_leaves_nothing(
    engine: AsyncEngine, wish: dict[str, Any], told: str
) -> None:
    async with engine.begin() as connection:
        with pytest.raises(WishError, match=f"^{told}"):
            await make_budget(connection, **wish)

        assert await list_budgets(connection) == []


async def test_what_is_spent_of_a_soft_budget_leaves_no_more_of_it_once_it_is_hard(
    engine: AsyncEngine,
) -> None:
    now = datetime.now(UTC)
    async with engine.begin() as connection:
        budget = await make_budget(connection)
        await ask(connection, budget, "w1", 300)
        await charge(connection, "w1", {(budget, SINCE_EVER): 300})
        await change_budget(connection, "b", BudgetChange(mode="soft"), at=now, actor="ann")
        await charge(connection, "w1", {(budget, SINCE_EVER): 500})
        await change_budget(connection, "b", BudgetChange(mode="hard"), at=now, actor="ann")

        first = await ask(connection, budget, "w1", 150)
        second = await ask(connection, budget, "w2", 100)

    assert (first.granted_nusd, first.available_nusd) == (150, 50)
    assert second.granted_nusd == 0
