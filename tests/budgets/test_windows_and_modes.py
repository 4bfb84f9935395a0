"""Every window with every mode, as callers of the API meet it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.answers import WholeAnswer
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.budgets import BudgetPeriod, window_of
from gateway.domain.errors import BudgetExceededError
from gateway.simulator.server import Simulator
from gateway.storage.budget_issue import BudgetWish
from tests.budgets.test_admission import for_everyone, gate_on, simulator, until
from tests.routing.factories import make_caller

__all__ = ["simulator"]
pytestmark = pytest.mark.anyio

PERIODS: dict[BudgetPeriod, str] = {
    "day": "0.0001 USD per day",
    "week": "0.0001 USD per week",
    "month": "0.0001 USD per month",
    "total": "0.0001 USD",
}
LIMIT_NUSD = 100_000


def for_teams(mode: str) -> list[BudgetWish]:
    """A budget for each window, for a team that is called after it."""
    return [
        for_everyone(
            LIMIT_NUSD,
            name=f"by-{period}",
            period=period,
            mode=mode,
            everyone=False,
            labels={"team": period},
        )
        for period in PERIODS
    ]


def ends(period: BudgetPeriod) -> datetime | None:
    """When a window of now ends, worked out another way than the gateway does."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return midnight + timedelta(days=1)
    if period == "week":
        return midnight + timedelta(days=8 - now.isoweekday())
    if period == "month":
        year, month = divmod(now.year * 12 + now.month, 12)
        return midnight.replace(year=year, month=month + 1, day=1)
    return None


async def test_hard_budgets_refuse_and_say_when_their_window_begins_anew(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wishes = for_teams("hard")
    async with gate_on(simulator, engine, dsn, *wishes, spent_nusd=LIMIT_NUSD - 1_000) as gate:
        for period, words in PERIODS.items():
            error = await gate.refusal(caller=make_caller(labels={"team": period}))

            assert isinstance(error, BudgetExceededError)
            status, _, body = render_error(error, Dialect.OPENAI)
            told = json.loads(body)["error"]
            assert status == 402
            assert f"'by-{period}' of {words} does not hold" in told["message"]
            metadata = told["metadata"]
            assert (metadata["period"], metadata["spent_usd"]) == (period, 9.9e-05)
            assert metadata["remaining_usd"] == 1e-06
            until_at = ends(period)
            if until_at is None:
                assert metadata["resets_at"] is None
                assert "begins anew" not in told["message"]
            else:
                assert metadata["resets_at"] == f"{until_at:%Y-%m-%dT%H:%M:%SZ}"
                assert f"begins anew at {until_at:%Y-%m-%d %H:%M} UTC" in told["message"]


async def test_soft_budgets_answer_and_warn_in_a_header(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wishes = for_teams("soft")
    async with gate_on(simulator, engine, dsn, *wishes, spent_nusd=LIMIT_NUSD) as gate:
        callers = {period: make_caller(labels={"team": period}) for period in PERIODS}
        for caller in callers.values():
            await gate.ask(caller=caller)
        await until(lambda: all(one.warning for one in gate.purse.slices.values()))

        for period, words in PERIODS.items():
            answer = await gate.ask(caller=callers[period])

            assert isinstance(answer, WholeAnswer)
            until_at = ends(period)
            anew = "" if until_at is None else f"; it begins anew at {until_at:%Y-%m-%d %H:%M} UTC"
            assert dict(answer.headers)["x-tollway-warnings"] == (
                f"budget by-{period}: 100 % of {words} are spent{anew}"
            )


async def test_shadow_budgets_tell_nobody_and_count_what_they_would_refuse(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wishes = for_teams("shadow")
    async with gate_on(simulator, engine, dsn, *wishes, spent_nusd=LIMIT_NUSD) as gate:
        callers = [make_caller(labels={"team": period}) for period in PERIODS]
        for caller in callers:
            await gate.ask(caller=caller)
        await until(lambda: all(one.spent_by_all for one in gate.purse.slices.values()))
        before = gate.purse.shadow_refused

        for caller in callers:
            answer = await gate.ask(caller=caller)
            assert "x-tollway-warnings" not in dict(answer.headers)

        assert gate.purse.shadow_refused - before == len(PERIODS)


async def test_each_team_is_charged_to_its_own_window(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    async with gate_on(simulator, engine, dsn, *for_teams("soft")) as gate:
        for period in PERIODS:
            await gate.ask(caller=make_caller(labels={"team": period}))

        for record, period in zip(gate.rig.ledger.records, PERIODS, strict=True):
            assert record.charge is not None
            (window,) = record.charge.windows
            assert window.since == window_of(period, datetime.now(UTC)).since
