"""More windows than are looked at in one go: none is forgotten, and none is paid for twice."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.budget_account import BudgetRules
from gateway.ledger.budget_keeper import BudgetKeeper
from gateway.ledger.budgets import Slice, Spending
from gateway.ledger.purse import Purse
from gateway.storage.budget_issue import issue_budget
from gateway.storage.budget_views import view_budget
from gateway.storage.budgets import load_budgets, release_expired
from gateway.storage.leases import charge
from tests.budgets.test_admission import for_everyone

pytestmark = pytest.mark.anyio
WORKER = "tests"


class Desk:
    """A purse with its keeper, which serves when it is told to."""

    def __init__(self, purse: Purse, keeper: BudgetKeeper, engine: AsyncEngine) -> None:
        self.purse = purse
        self.keeper = keeper
        self.engine = engine

    def slice(self, name: str) -> Slice:
        budget = next(one for one in self.purse.budgets if one.name == name)
        one = self.purse.slice_of(budget, time.time())
        one.used_at_s = time.monotonic()
        return one

    async def serve(self, *wanted: Slice) -> None:
        for one in wanted:
            one.dry_until_s = 0.0
            self.purse.want(one)
        await self.keeper._serve()  # pyright: ignore[reportPrivateUsage] - one turn of its loop

    def spend(self, one: Slice, nusd: int) -> None:
        spending = Spending((one,), (one.window_ref,))
        assert spending.reserve({"fast": nusd})
        spending.begin(1, "fast")
        spending.end(1, nusd)
        spending.close()

    async def ship(self, one: Slice, nusd: int) -> None:
        async with self.engine.begin() as connection:
            await charge(connection, WORKER, {(one.budget.id, one.window.since): nusd})

    async def leased_nusd(self, one: Slice) -> int:
        async with self.engine.connect() as connection:
            found = await view_budget(connection, one.budget.name, one.window.since)
        assert found is not None
        return int(found.leased_usd.scaleb(9))


@asynccontextmanager
async def desk_of(
    engine: AsyncEngine, dsn: str, *names: str, rules: BudgetRules
) -> AsyncGenerator[Desk]:
    async with engine.begin() as connection:
        for name in names:
            await issue_budget(connection, for_everyone(100_000, name=name), actor="test")
        budgets = tuple(await load_budgets(connection))
    purse = Purse(rules)
    purse.follow(budgets)
    keeper = BudgetKeeper(purse, dsn, WORKER, budgets=lambda: budgets)
    yield Desk(purse, keeper, engine)
    await keeper._engine.dispose()  # pyright: ignore[reportPrivateUsage] - its loop does it at its end


async def test_a_lease_that_was_deleted_unseen_is_not_paid_for_again(
    engine: AsyncEngine, dsn: str
) -> None:
    # Whatever is free is given back at the next look.
    rules = BudgetRules(tick_s=0.0, idle_s=-1.0, standing=0, looked_at=2)
    async with desk_of(engine, dsn, "a", "b", "c", rules=rules) as desk:
        first = desk.slice("a")
        await desk.serve(first)
        desk.spend(first, 600)
        await desk.serve()
        await desk.ship(first, 600)
        assert (first.free, first.spent, await desk.leased_nusd(first)) == (0, 600, 0)
        for name in ("b", "c"):
            await desk.serve(desk.slice(name))

        await desk.serve(first)

        assert first.granted == first.free + first.reserved + first.spent
        assert first.free > 0
        assert await desk.leased_nusd(first) == first.free


async def test_every_window_is_looked_at_in_its_turn(engine: AsyncEngine, dsn: str) -> None:
    rules = BudgetRules(tick_s=0.0, idle_s=-1.0, standing=0, looked_at=2)
    names = ("a", "b", "c", "d", "e")
    async with desk_of(engine, dsn, *names, rules=rules) as desk:
        slices = [desk.slice(name) for name in names]
        await desk.serve(*slices)

        for _ in names:
            await desk.serve()

        assert [one.free for one in slices] == [0] * len(names)
        assert [await desk.leased_nusd(one) for one in slices] == [0] * len(names)


async def test_a_worker_that_comes_back_after_its_lease_was_released_goes_on(
    engine: AsyncEngine, dsn: str
) -> None:
    rules = BudgetRules(tick_s=0.0, ttl_s=-1.0)
    async with desk_of(engine, dsn, "a", rules=rules) as desk:
        one = desk.slice("a")
        await desk.serve(one)
        desk.spend(one, 600)
        await desk.ship(one, 600)
        async with engine.begin() as connection:
            await release_expired(connection, "a", at=one.budget.created_at, actor="test")

        await desk.serve(one)

        assert one.free > 0
        assert await desk.leased_nusd(one) == one.free
