"""Budgets and limits of keys as requests meet them: admitted, refused, warned, told."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.answers import StreamedAnswer, WholeAnswer
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.budgets import Budget, window_of
from gateway.domain.errors import BudgetExceededError, GatewayError, RateLimitedError
from gateway.ledger.budget_account import BudgetRules
from gateway.ledger.budget_bounds import BoundRules
from gateway.ledger.budget_keeper import BudgetKeeper
from gateway.ledger.limit_table import open_limits
from gateway.ledger.limits import Limiter
from gateway.ledger.purse import Purse
from gateway.ledger.toll import Tollbooth
from gateway.simulator.server import Simulator
from gateway.storage.budget_issue import BudgetWish, issue_budget
from gateway.storage.budgets import load_budgets
from gateway.storage.leases import charge, look
from tests.pipeline.rig import Offer, Rig, chat_request, rig_on
from tests.routing.factories import make_caller, make_catalogue_of

pytestmark = pytest.mark.anyio

PROMPT = "Where does the toll road lead?"
# 30 bytes, and twice the estimate of 8 tokens and 4 for the message, at 1 nano-dollar a token
# (0.001 USD per million); the answer is held to 10 tokens at 2.
BOUND_NUSD = (30 + 2 * (8 + 4)) * 1_000 + 10 * 2_000


@pytest.fixture
async def simulator(anyio_backend: str) -> AsyncIterator[Simulator]:
    async with Simulator(speed=0) as running:
        yield running


class Gate:
    """A pipeline with budgets in a real Postgres."""

    def __init__(self, rig: Rig, purse: Purse, keeper: BudgetKeeper, engine: AsyncEngine) -> None:
        self.rig = rig
        self.purse = purse
        self.keeper = keeper
        self.engine = engine

    async def ask(self, **members: Any) -> WholeAnswer | StreamedAnswer:
        asked: dict[str, Any] = {"max_tokens": 10} | members
        caller = asked.pop("caller", None) or make_caller()
        return await self.rig.answer(caller=caller, **asked)

    async def refusal(self, **members: Any) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self.ask(**members)
        return caught.value

    async def left(self, budget: Budget) -> tuple[int, int]:
        """Spent and leased, as Postgres has it."""
        since = window_of(budget.period, datetime.now(UTC)).since
        async with self.engine.connect() as connection:
            _, windows = await look(connection, None, [(budget.id, since)])
            found = windows[budget.id, since]
        return found.spent_nusd, found.leased_nusd


@asynccontextmanager
async def gate_on(
    simulator: Simulator,
    engine: AsyncEngine,
    dsn: str,
    *wishes: BudgetWish,
    offers: tuple[Offer, ...] = (Offer(),),
    rules: BudgetRules | None = None,
    is_enforced: bool = True,
    spent_nusd: int = 0,
    is_running: bool = True,
    **more: Any,
) -> AsyncGenerator[Gate]:
    purse = Purse(rules or BudgetRules(wait_s=5.0, tick_s=0.05))
    limiter = Limiter(open_limits(None, worker=0), is_enforced=is_enforced)
    async with engine.begin() as connection:
        for wish in wishes:
            made = await issue_budget(connection, wish, actor="test")
            if spent_nusd:
                since = window_of(made.period, datetime.now(UTC)).since
                await charge(connection, "earlier", {(made.id, since): spent_nusd})
        budgets = tuple(await load_budgets(connection))
    async with rig_on(simulator, *offers, **more) as rig:
        booth = Tollbooth(
            purse,
            limiter,
            rules=BoundRules(),
            learned=lambda _key, _model: None,
            expected_output_tokens=100,
        )
        rig.pipeline._gathering._booth = booth  # pyright: ignore[reportPrivateUsage] - the rig knows no budgets
        rig.snapshots.current = msgspec.structs.replace(rig.snapshots.current, budgets=budgets)
        keeper = BudgetKeeper(purse, dsn, "tests", budgets=lambda: rig.snapshots.current.budgets)
        task = asyncio.create_task(keeper.run()) if is_running else None
        try:
            await until(lambda: not (is_running and wishes and purse.is_away))
            yield Gate(rig, purse, keeper, engine)
        finally:
            if task is not None:
                await keeper.aclose()
                task.cancel()
            limiter.close()


def for_everyone(limit_nusd: int, **more: Any) -> BudgetWish:
    known: dict[str, Any] = {"name": "b", "period": "day", "everyone": True, "strict": True}
    return BudgetWish(limit_usd=Decimal(limit_nusd).scaleb(-9), **(known | more))


async def test_of_parallel_requests_exactly_as_many_are_admitted_as_the_budget_holds(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    """Point 17 of the acceptance checklist: providers that never answer hold what is reserved."""
    offers = (Offer(do="hang"),)
    async with gate_on(simulator, engine, dsn, for_everyone(5 * BOUND_NUSD), offers=offers) as gate:
        tasks = [asyncio.create_task(gate.refusal()) for _ in range(20)]
        await until(lambda: sum(task.done() for task in tasks) == 15)

        refused = [task.result() for task in tasks if task.done()]
        assert len(refused) == 15
        assert {type(error) for error in refused} == {BudgetExceededError}
        assert len(gate.rig.ledger.begun) == 5
        assert gate.purse.reserved_nusd == 5 * BOUND_NUSD
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert gate.purse.reserved_nusd == 0


async def test_what_a_request_cost_is_on_its_record_for_the_shipper(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    async with gate_on(simulator, engine, dsn, for_everyone(10 * BOUND_NUSD)) as gate:
        await gate.ask()

        record = gate.rig.ledger.only
        assert record.charge is not None
        assert record.cost_usd is not None
        assert record.charge.nusd == int(record.cost_usd * 10**9)
        assert [one.since for one in record.charge.windows] == [
            window_of("day", datetime.now(UTC)).since
        ]
        begun = gate.rig.ledger.begun[0].reservation
        assert begun is not None
        assert begun.nusd == BOUND_NUSD
        (one,) = gate.purse.slices.values()
        assert (one.reserved, one.spent) == (0, record.charge.nusd)


async def test_what_callers_pay_themselves_takes_nothing_of_a_budget(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    url = httpx.URL(simulator.base_url)
    caller = make_caller(
        provider_configs_origins=(f"{url.scheme}://{url.host}:{url.port}",),
    )
    own = {"provider": {}, "provider_configs": {"p1": {"api_key": "their-own-credential"}}}
    budget = for_everyone(BOUND_NUSD)
    async with gate_on(simulator, engine, dsn, budget, spent_nusd=BOUND_NUSD) as gate:
        error = await gate.refusal(caller=caller)
        await gate.ask(caller=caller, **own)

        refused, served = gate.rig.ledger.records
        assert isinstance(error, BudgetExceededError)
        assert (refused.is_paid_by_caller, served.is_paid_by_caller) == (False, True)
        assert served.cost_usd is not None
        assert served.charge is None
        (made,) = gate.rig.snapshots.current.budgets
        assert (await gate.left(made))[0] == BOUND_NUSD


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_402_says_what_is_left_and_when_it_begins_anew_in_every_dialect(
    simulator: Simulator, engine: AsyncEngine, dsn: str, dialect: Dialect
) -> None:
    wish = for_everyone(BOUND_NUSD, name="team")
    async with gate_on(simulator, engine, dsn, wish, spent_nusd=BOUND_NUSD - 1_000) as gate:
        with pytest.raises(BudgetExceededError) as caught:
            await gate.rig.pipeline.answer(
                chat_request(dialect, max_tokens=10), make_caller(), gate.rig.interruption
            )

        status, headers, body = render_error(caught.value, dialect)
        told = json.loads(body)
        assert status == 402
        assert dict(headers)["x-should-retry"] == "false"
        text = body.decode()
        midnight = window_of("day", datetime.now(UTC)).until
        assert midnight is not None
        assert "'team' of 0.000074 USD per day" in text
        assert f"it begins anew at {midnight:%Y-%m-%d %H:%M} UTC" in text
        if dialect is Dialect.FASTAPI:
            assert isinstance(told["detail"], str)
            metadata = told["metadata"]
        else:
            error = told["error"]
            metadata = error["metadata"]
            kinds = {
                Dialect.OPENAI: ("insufficient_quota", "budget_exceeded"),
                Dialect.ANTHROPIC: ("billing_error", "budget_exceeded"),
                Dialect.OPENROUTER: (None, 402),
            }
            assert (error.get("type"), error["code"]) == kinds[dialect]
        assert (metadata["limit_usd"], metadata["remaining_usd"]) == (7.4e-05, 1e-06)
        assert metadata["resets_at"] == f"{midnight:%Y-%m-%dT%H:%M:%SZ}"
        record = gate.rig.ledger.only
        assert (record.status_code, record.error_kind) == (402, "budget_exceeded")
        assert record.attempts == ()


async def test_a_dear_endpoint_is_left_out_where_a_cheap_one_still_fits(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    offers = (Offer(input_usd="100", output_usd="200"), Offer())
    wish = for_everyone(2 * BOUND_NUSD)
    async with gate_on(simulator, engine, dsn, wish, offers=offers) as gate:
        answer = await gate.ask()

        assert isinstance(answer, WholeAnswer)
        assert ("x-tollway-provider", "p2") in answer.headers
        assert gate.rig.ledger.begun[0].provider == "p2"


async def test_a_fallback_is_covered_by_what_was_reserved_at_first(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    offers = (Offer(do="500"), Offer(input_usd="2", output_usd="4"))
    async with gate_on(simulator, engine, dsn, for_everyone(2 * BOUND_NUSD), offers=offers) as gate:
        await gate.ask()

        first, second = (one.reservation for one in gate.rig.ledger.begun)
        assert first is not None
        assert second is not None
        assert (first.nusd, second.nusd) == (BOUND_NUSD, 2 * BOUND_NUSD)
        assert second.settled == {1: 0}


async def test_an_endpoint_without_a_price_is_refused_to_a_hard_budget(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    async with gate_on(simulator, engine, dsn, for_everyone(10**9)) as gate:
        endpoint = msgspec.structs.replace(gate.rig.endpoints[0], prices=())
        gate.rig.snapshots.current = msgspec.structs.replace(
            gate.rig.snapshots.current, catalogue=make_catalogue_of(endpoint)
        )

        error = await gate.refusal()

        assert error.metadata["excluded_by"] == {"unpriced": 1}


async def test_a_soft_budget_warns_in_a_header_and_never_refuses(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(100_000, mode="soft", name="soft")
    async with gate_on(simulator, engine, dsn, wish, spent_nusd=85_000) as gate:
        await gate.ask()
        await until(lambda: any(one.warning for one in gate.purse.slices.values()))

        answer = await gate.ask()

        warnings = dict(answer.headers)["x-tollway-warnings"]
        assert warnings.startswith("budget soft: 80 % of 0.0001 USD per day are spent; it begins")
        assert gate.rig.ledger.records[-1].charge is not None


async def test_a_warning_of_several_lines_is_one_header(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(100_000, mode="soft", name="soft")
    async with gate_on(simulator, engine, dsn, wish, spent_nusd=85_000) as gate:
        current = gate.rig.snapshots.current
        gate.rig.snapshots.current = msgspec.structs.replace(
            current,
            budgets=tuple(
                msgspec.structs.replace(one, name="a\r\nx-evil: b") for one in current.budgets
            ),
        )
        await gate.ask()
        await until(lambda: any(one.warning for one in gate.purse.slices.values()))

        answer = await gate.ask()

        warnings = dict(answer.headers)["x-tollway-warnings"]
        assert warnings.startswith("budget a  x-evil: b: 80 % of")


async def test_a_shadow_budget_refuses_nothing_and_is_counted(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(1, mode="shadow")
    async with gate_on(simulator, engine, dsn, wish, spent_nusd=5) as gate:
        await gate.ask()
        await until(lambda: all(one.spent_by_all for one in gate.purse.slices.values()))

        answer = await gate.ask()

        assert "x-tollway-warnings" not in dict(answer.headers)
        assert gate.purse.shadow_refused == 1


async def test_an_installation_in_shadow_mode_enforces_nothing(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    rules = BudgetRules(is_enforced=False, tick_s=0.05)
    async with gate_on(
        simulator, engine, dsn, for_everyone(1), rules=rules, is_enforced=False
    ) as gate:
        caller = make_caller(requests_per_minute=1)
        for _ in range(3):
            await gate.ask(caller=caller)

        assert gate.rig.pipeline._gathering._booth is not None  # pyright: ignore[reportPrivateUsage]
        assert gate.rig.pipeline._gathering._booth.limiter.shadow_refused == 2  # pyright: ignore[reportPrivateUsage]


async def test_a_used_up_slice_and_a_silent_database_give_429_in_time(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    rules = BudgetRules(wait_s=0.05)
    async with gate_on(
        simulator, engine, dsn, for_everyone(10**9), rules=rules, is_running=False
    ) as gate:
        gate.purse.is_away = False

        began_s = asyncio.get_running_loop().time()
        error = await gate.refusal()
        took_s = asyncio.get_running_loop().time() - began_s

        assert isinstance(error, RateLimitedError)
        assert (error.code, error.retry_after_s, error.should_retry) == (
            "budget_unconfirmed",
            1,
            False,
        )
        assert 0.04 < took_s < 2
        gate.purse.is_away = True
        await gate.refusal()
        assert gate.purse.unconfirmed == 2


async def test_a_slice_that_is_there_serves_without_any_database(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    async with gate_on(simulator, engine, dsn, for_everyone(1_000 * BOUND_NUSD)) as gate:
        await gate.ask()
        await gate.keeper.aclose()
        (one,) = gate.purse.slices.values()
        assert one.free >= BOUND_NUSD

        await gate.ask()

        assert gate.purse.is_away


async def test_who_reaches_a_rate_is_told_when_to_come_back(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    async with gate_on(simulator, engine, dsn) as gate:
        caller = make_caller(requests_per_minute=2)
        first = await gate.ask(caller=caller)
        await gate.ask(caller=caller)

        error = await gate.refusal(caller=caller)

        told = dict(first.headers)
        assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("2", "1")
        assert 29 <= int(told["ratelimit-reset"]) <= 30
        status, headers, body = render_error(error, Dialect.OPENAI)
        refused = dict(headers)
        assert status == 429
        assert 29 <= int(refused["Retry-After"]) <= 30
        assert refused["ratelimit-remaining"] == "0"
        assert refused["x-ratelimit-remaining-requests"] == "0"
        assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
        assert gate.rig.ledger.records[-1].status_code == 429


async def test_tokens_are_limited_by_what_a_request_is_expected_to_need(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    async with gate_on(simulator, engine, dsn) as gate:
        caller = make_caller(tokens_per_minute=10_000)
        answer = await gate.ask(caller=caller, max_tokens=10)

        # 12 of the prompt and 10 of the answer.
        assert dict(answer.headers)["x-ratelimit-remaining-tokens"] == "9978"
        little = make_caller(tokens_per_minute=60)
        with pytest.raises(RateLimitedError) as caught:
            await asyncio.gather(*(gate.ask(caller=little, max_tokens=10) for _ in range(20)))
        assert caught.value.code == "tokens_limit_exceeded"
        assert 0 < (caught.value.retry_after_s or 0) < 60


async def test_so_many_requests_of_a_key_may_be_open_at_once(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    async with gate_on(simulator, engine, dsn) as gate:
        caller = make_caller(concurrency=1)
        stream = await gate.ask(caller=caller, stream=True)
        assert isinstance(stream, StreamedAnswer)

        error = await gate.refusal(caller=caller)
        assert error.code == "concurrency_limit_exceeded"
        async for _ in stream.events:
            pass
        await gate.ask(caller=caller)


async def test_a_budget_for_a_team_leaves_others_alone(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(1, everyone=False, labels={"team": "a"})
    async with gate_on(simulator, engine, dsn, wish) as gate:
        await gate.ask(caller=make_caller(labels={"team": "b"}))

        error = await gate.refusal(caller=make_caller(labels={"team": "a"}))

        assert isinstance(error, BudgetExceededError)
        assert gate.rig.ledger.records[0].charge is None


async def test_without_strictness_what_was_learned_of_answers_is_reserved(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(10**12, strict=False)
    async with gate_on(simulator, engine, dsn, wish) as gate:
        booth = gate.rig.pipeline._gathering._booth  # pyright: ignore[reportPrivateUsage]
        assert booth is not None
        booth.learned = fifty_tokens
        await gate.ask(max_tokens=100_000)

        begun = gate.rig.ledger.begun[0].reservation
        assert begun is not None
        assert begun.nusd == (30 + 2 * (8 + 4)) * 1_000 + 50 * 2_000


def fifty_tokens(_key: UUID, _model: str) -> float:
    return 50.0


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - many different things are waited for
            await asyncio.sleep(0.005)


def test_the_next_window_is_soon_enough() -> None:
    at = datetime(2026, 11, 21, 23, 59, 57, tzinfo=UTC)
    assert window_of("day", at + timedelta(seconds=5)).since.day == 22
