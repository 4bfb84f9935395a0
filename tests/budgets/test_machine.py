"""The state machine of budgets: real books against a real Postgres, whatever happens in between.

At any time the limit is what is spent, leased and available; what providers billed is within the
limit, but for what attempts cost beyond their reservations; and what is spent is what records say.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, func, select, update

from gateway.domain.budgets import Budget, Window, window_of
from gateway.ledger.budgets import Slice, Spending
from gateway.storage.budget_changes import BudgetChange, change_budget
from gateway.storage.budget_issue import BudgetWish, issue_budget
from gateway.storage.budgets import release_expired
from gateway.storage.engine import make_engine
from gateway.storage.granting import Ask, acquire
from gateway.storage.leases import (
    charge,
    free_expired,
    give_back,
    look,
    release_worker,
    renew,
)
from gateway.storage.tables import budget as budget_table
from gateway.storage.tables import budget_lease, budget_period, notice
from pricing.cost import from_nano_usd
from tests.properties import many

T = TypeVar("T")
LIMIT = 1_000
MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
TUESDAY = datetime(2026, 11, 24, 12, tzinfo=UTC)
AMOUNTS = st.integers(1, 300)


class LostError(Exception):
    """The answer of Postgres was lost on the way."""


class Node:
    """A worker: its books, its open attempts, and a spool that outlives it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slices: dict[datetime, Slice] = {}
        self.open: list[tuple[Spending, Slice, int, int]] = []
        self.spool: list[tuple[datetime, int]] = []
        self.begun: list[tuple[datetime, int]] = []
        self.unrecorded: dict[datetime, int] = {}
        """What it was billed and its records in Postgres do not say."""
        self.over = 0


class Budgets(RuleBasedStateMachine):
    dsn: ClassVar[str]
    loop: ClassVar[asyncio.AbstractEventLoop]
    engine: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, Node] = {}
        self.dead: list[Node] = []
        self.lost: list[Node] = []
        self.over: dict[datetime, int] = {}
        self.forgiven: dict[datetime, int] = {}
        self.made = 0
        self.billed: dict[datetime, int] = {}
        self.recorded: dict[datetime, int] = {}
        self.limit = LIMIT
        self.highest_limit = LIMIT
        self.now = MONDAY
        self.is_down = False
        self.budget: Budget

    def run(self, work: Callable[[Any], Coroutine[Any, Any, T]], *, is_lost: bool = False) -> T:
        async def transact() -> T:
            async with self.engine.begin() as connection:
                return await work(connection)

        found = self.loop.run_until_complete(transact())
        if is_lost:
            raise LostError
        return found

    @initialize()
    def begin(self) -> None:
        async def make(connection: Any) -> Budget:
            for table in (budget_lease, budget_period, budget_table, notice):
                await connection.execute(delete(table))
            wish = BudgetWish(
                name="b", limit_usd=Decimal(LIMIT).scaleb(-9), period="day", everyone=True
            )
            return await issue_budget(connection, wish, actor="test")

        self.budget = self.run(make)
        for _ in range(2):
            self.start()

    @rule()
    def start(self) -> None:
        """A worker begins, in place of one that died."""
        if len(self.nodes) < 3:
            self.made += 1
            self.nodes[f"w{self.made}"] = Node(f"w{self.made}")

    def node(self, index: int) -> Node | None:
        names = sorted(self.nodes)
        return self.nodes[names[index % len(names)]] if names else None

    def window(self) -> Window:
        return window_of("day", self.now)

    def slice_of(self, node: Node) -> Slice:
        window = self.window()
        one = node.slices.get(window.since)
        if one is None:
            one = node.slices[window.since] = Slice(self.budget, window, is_hard=True)
        return one

    @rule(index=st.integers(0, 5), need=AMOUNTS, ahead=AMOUNTS, is_lost=st.booleans())
    def refill(self, index: int, need: int, ahead: int, is_lost: bool) -> None:
        node = self.node(index)
        if node is None or self.is_down:
            return
        one = self.slice_of(node)
        ask = Ask(budget=self.budget.id, since=one.window.since, needs=(need,), ahead=ahead)
        try:
            (found,) = self.run(lambda c: acquire(c, node.name, [ask], ttl_s=60), is_lost=is_lost)
        except LostError:
            return
        one.adopt(found.granted_nusd, found.lease_at)

    @rule(
        index=st.integers(0, 5),
        bound=AMOUNTS,
        actual=st.integers(0, 300),
        over=st.sampled_from((0, 0, 0, 40)),
    )
    def reserve(self, index: int, bound: int, actual: int, over: int) -> None:
        """A request begins an attempt; its provider bills it in the course of it."""
        node = self.node(index)
        if node is None:
            return
        one = self.slice_of(node)
        spending = Spending((one,), (one.window_ref,))
        if not spending.reserve({"e": bound}):
            return
        spending.begin(1, "e")
        actual = min(actual, bound)
        if over:
            # Longer than anybody expected.
            actual = bound + over
            node.over += over
            add(self.over, one.window.since, over)
        node.open.append((spending, one, bound, actual))
        node.begun.append((one.window.since, bound))
        add(self.billed, one.window.since, actual)
        add(node.unrecorded, one.window.since, actual)

    @rule(index=st.integers(0, 5), which=st.integers(0, 5), nusd=AMOUNTS)
    def grow(self, index: int, which: int, nusd: int) -> None:
        """A stream goes beyond what was expected, and reserves more; its provider bills it."""
        node = self.node(index)
        if node is None or not node.open:
            return
        which %= len(node.open)
        spending, one, bound, actual = node.open[which]
        if not spending.grow(1, nusd):
            return
        since = one.window.since
        node.open[which] = (spending, one, bound + nusd, actual + nusd)
        # Its beginning is written again: a crash finds the larger reservation.
        node.begun[node.begun.index((since, bound))] = (since, bound + nusd)
        add(self.billed, since, nusd)
        add(node.unrecorded, since, nusd)

    @rule(index=st.integers(0, 5), which=st.integers(0, 5))
    def settle(self, index: int, which: int) -> None:
        node = self.node(index)
        if node is None or not node.open:
            return
        spending, one, bound, actual = node.open.pop(which % len(node.open))
        spending.end(1, actual)
        node.spool.append((one.window.since, spending.charge.nusd))
        spending.close()
        node.begun.remove((one.window.since, bound))

    @rule(index=st.integers(0, 5))
    def ship(self, index: int) -> None:
        node = self.node(index)
        if node is not None and not self.is_down:
            self.store(node)

    def store(self, node: Node) -> None:
        sums: dict[tuple[UUID, datetime], int] = {}
        for since, nusd in node.spool:
            key = (self.budget.id, since)
            sums[key] = sums.get(key, 0) + nusd
            add(self.recorded, since, nusd)
            add(node.unrecorded, since, -nusd)
        node.spool.clear()
        if sums:
            self.run(lambda c: charge(c, node.name, sums))

    @rule(index=st.integers(0, 5), is_lost=st.booleans())
    def look_around(self, index: int, is_lost: bool) -> None:
        """Renew, and learn what Postgres says was granted."""
        node = self.node(index)
        if node is None or self.is_down:
            return
        keys = [(self.budget.id, since) for since in node.slices]
        try:
            _, found = self.run(lambda c: renew(c, node.name, keys, ttl_s=60), is_lost=is_lost)
        except LostError:
            return
        for holding in found:
            node.slices[holding.since].adopt(holding.granted_nusd, holding.lease_at)

    @rule(index=st.integers(0, 5), is_lost=st.booleans())
    def return_free(self, index: int, is_lost: bool) -> None:
        node = self.node(index)
        if node is None or self.is_down:
            return
        returned = {
            (self.budget.id, since): nusd
            for since, one in node.slices.items()
            if (nusd := one.return_free())
        }
        if returned:
            try:
                self.run(lambda c: give_back(c, node.name, returned), is_lost=is_lost)
            except LostError:
                return

    @rule(index=st.integers(0, 5))
    def crash(self, index: int) -> None:
        node = self.node(index)
        if node is not None:
            self.dead.append(self.nodes.pop(node.name))

    @rule()
    def adopt(self) -> None:
        """Somebody ships what a dead worker left: open attempts count as what was reserved."""
        if not self.dead or self.is_down:
            return
        node = self.dead.pop(0)
        node.spool += node.begun
        node.begun.clear()
        self.store(node)
        self.run(lambda c: release_worker(c, node.name))

    @rule(index=st.integers(0, 5))
    def lose(self, index: int) -> None:
        """A node is gone with its disk: nobody ships what it left."""
        node = self.node(index)
        if node is not None:
            self.lost.append(self.nodes.pop(node.name))

    @rule(is_by_hand=st.booleans())
    def release_lost(self, is_by_hand: bool) -> None:
        """Its leases expire, and count until an operator, or a setting, gives them back."""
        if not self.lost or self.is_down:
            return
        node = self.lost.pop(0)

        async def release(connection: Any) -> None:
            gone = (budget_lease.c.worker == node.name,)
            past = func.now() - timedelta(hours=1)
            await connection.execute(update(budget_lease).where(*gone).values(expires_at=past))
            if is_by_hand:
                await release_expired(connection, "b", at=self.now, actor="test")
            else:
                await free_expired(connection, [self.budget.id])

        self.run(release)
        for since, nusd in node.unrecorded.items():
            add(self.forgiven, since, max(0, nusd))

    @rule(limit=st.integers(0, 2 * LIMIT))
    def change_limit(self, limit: int) -> None:
        if self.is_down:
            return
        self.limit = limit
        self.highest_limit = max(self.highest_limit, limit)
        change = BudgetChange(limit_usd=from_nano_usd(limit))
        self.run(lambda c: change_budget(c, "b", change, at=self.now, actor="test"))

    @rule()
    def roll_over(self) -> None:
        """The next day; what is under way belongs to the day it began."""
        self.now = TUESDAY

    @rule(is_down=st.booleans())
    def toggle(self, is_down: bool) -> None:
        self.is_down = is_down

    @invariant()
    def books_are_even(self) -> None:
        for node in self.nodes.values():
            for one in node.slices.values():
                assert one.granted == one.free + one.reserved + one.spent
                assert one.free >= -node.over
                assert one.reserved >= 0

    @invariant()
    def postgres_is_even(self) -> None:
        if not hasattr(self, "budget"):
            return
        sinces = [window_of("day", at).since for at in (MONDAY, TUESDAY)]
        keys = [(self.budget.id, since) for since in sinces]
        _, found = self.run(lambda c: look(c, None, keys))
        leased = self.run(self.leases)
        for since, key in zip(sinces, keys, strict=True):
            holding = found[key]
            assert holding.spent_nusd == self.recorded.get(since, 0)
            assert holding.leased_nusd == leased.get(since, 0)
            over = self.over.get(since, 0)
            # Lowering a limit takes nothing away from what was leased under a higher one.
            counted = holding.spent_nusd + holding.leased_nusd
            assert counted <= self.highest_limit + over
            assert self.billed.get(since, 0) - self.forgiven.get(since, 0) <= counted + over

    async def leases(self, connection: Any) -> dict[datetime, int]:
        """What all leases add up to, row by row."""
        rows = await connection.execute(select(budget_lease))
        sums: dict[datetime, int] = {}
        for row in rows:
            add(sums, row.since, max(0, row.granted_nusd - row.shipped_nusd))
        return sums

    def teardown(self) -> None:
        """Once all is over and shipped, nothing is leased, and spent is what was recorded."""
        if not hasattr(self, "budget"):
            return
        self.is_down = False
        while self.lost:
            self.release_lost(is_by_hand=True)
        for node in [*self.nodes.values(), *self.dead]:
            for spending, one, _, actual in node.open if node.name in self.nodes else ():
                spending.end(1, actual)
                node.spool.append((one.window.since, spending.charge.nusd))
                spending.close()
            if node.name not in self.nodes:
                node.spool += node.begun
            self.store(node)
            self.run(lambda c, name=node.name: release_worker(c, name))
        for at in (MONDAY, TUESDAY):
            since = window_of("day", at).since
            _, found = self.run(lambda c, s=since: look(c, None, [(self.budget.id, s)]))
            holding = found[self.budget.id, since]
            assert holding.leased_nusd == 0
            assert holding.spent_nusd == self.recorded.get(since, 0)
            over, forgiven = self.over.get(since, 0), self.forgiven.get(since, 0)
            assert holding.spent_nusd <= self.highest_limit + over
            assert self.billed.get(since, 0) <= holding.spent_nusd + over + forgiven


def add(sums: dict[datetime, int], since: datetime, nusd: int) -> None:
    sums[since] = sums.get(since, 0) + nusd


@pytest.mark.hypothesis
@pytest.mark.timeout(many(1_800))
def test_whatever_happens_the_books_are_even_and_the_limit_holds(dsn: str) -> None:
    loop = asyncio.new_event_loop()
    engine = make_engine(dsn, pool_size=1)
    Budgets.loop, Budgets.engine = loop, engine
    try:
        run_state_machine_as_test(
            Budgets,
            settings=settings(
                max_examples=many(12),
                stateful_step_count=30,
                suppress_health_check=(HealthCheck.too_slow,),
            ),
        )
    finally:
        loop.run_until_complete(engine.dispose())
        loop.close()
