"""Streams that cost more than was reserved: more is reserved while there is more, else they end."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.answers import StreamedAnswer
from gateway.chat.dialects import Dialect
from gateway.domain.outcomes import Outcome
from gateway.simulator.server import Simulator
from tests.budgets.test_admission import BOUND_NUSD, Gate, for_everyone, gate_on, simulator
from tests.pipeline.rig import Offer, chat_request
from tests.routing.factories import make_caller

__all__ = ["simulator"]
pytestmark = pytest.mark.anyio

ANSWER_NUSD = 2_000
"""What a token of the answer costs."""


async def stream_of(gate: Gate, dialect: Dialect = Dialect.OPENAI, **members: Any) -> bytes:
    answer = await gate.rig.pipeline.answer(
        chat_request(dialect, stream=True, **members), make_caller(), gate.rig.interruption
    )
    assert isinstance(answer, StreamedAnswer)
    return answer.first + b"".join([data async for data in answer.events])


def last_event(data: bytes) -> dict[str, Any]:
    *_, last, done = [part for part in data.split(b"\n\n") if part]
    assert done == b"data: [DONE]"
    return json.loads(last.removeprefix(b"data: "))


def twenty_tokens(_key: UUID, _model: str) -> float:
    return 20.0


async def test_a_stream_without_end_is_ended_where_the_budget_holds_no_more(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    limit_nusd = 200 * ANSWER_NUSD
    wish = for_everyone(limit_nusd, strict=False, name="team")
    async with gate_on(simulator, engine, dsn, wish, offers=(Offer(do="endless"),)) as gate:
        booth = gate.rig.pipeline._gathering._booth  # pyright: ignore[reportPrivateUsage]
        assert booth is not None
        booth.learned = twenty_tokens

        told = last_event(await stream_of(gate))

        (choice,) = told["choices"]
        assert choice["finish_reason"] == "budget"
        error = told["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
        assert error["message"].startswith("the answer is not complete: the budget 'team' of")
        assert error["metadata"]["limit_usd"] == 0.0004
        record = gate.rig.ledger.only
        assert (record.outcome, record.error_kind) == (Outcome.BUDGET_EXCEEDED, "budget_exceeded")
        (attempt,) = record.attempts
        assert (attempt.outcome, attempt.finish_reason) == (Outcome.BUDGET_EXCEEDED, "budget")
        assert attempt.usage_source == "estimated"
        assert error["metadata"]["usage"]["completion_tokens"] == attempt.usage.output_tokens  # pyright: ignore[reportOptionalMemberAccess]
        # Most of the budget was used, and not more than it holds.
        assert record.charge is not None
        assert limit_nusd // 2 < record.charge.nusd <= limit_nusd
        sizes = [one.reservation.nusd or 0 for one in gate.rig.ledger.begun if one.reservation]
        assert len(sizes) > 2
        assert sizes == sorted(sizes)
        assert {one.number for one in gate.rig.ledger.begun} == {1}
        (one,) = gate.purse.slices.values()
        assert (one.reserved, one.granted) == (0, one.free + one.spent)
        assert gate.purse.refused == 1


async def test_a_stream_that_the_budget_holds_enough_for_goes_on_to_its_end(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(10**9, strict=False)
    async with gate_on(
        simulator, engine, dsn, wish, offers=(Offer(do="tokens=400,tokens_per_s=400"),)
    ) as gate:
        booth = gate.rig.pipeline._gathering._booth  # pyright: ignore[reportPrivateUsage]
        assert booth is not None
        booth.learned = twenty_tokens

        told = last_event(await stream_of(gate))

        assert told["choices"][0]["finish_reason"] == "stop"
        assert gate.rig.ledger.only.outcome is Outcome.SUCCESS
        assert len(gate.rig.ledger.begun) > 1
        (one,) = gate.purse.slices.values()
        assert one.reserved == 0


async def test_an_answer_within_what_was_asked_for_is_never_cut_off(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    # Exactly one such request: not a token more is to be had.
    async with gate_on(
        simulator, engine, dsn, for_everyone(BOUND_NUSD), offers=(Offer(do="tokens=400"),)
    ) as gate:
        told = last_event(await stream_of(gate, max_tokens=10))

        assert told["choices"][0]["finish_reason"] == "length"
        assert len(gate.rig.ledger.begun) == 1


async def test_a_client_of_messages_gets_an_error_event(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(100 * ANSWER_NUSD, strict=False)
    async with gate_on(simulator, engine, dsn, wish, offers=(Offer(do="endless"),)) as gate:
        booth = gate.rig.pipeline._gathering._booth  # pyright: ignore[reportPrivateUsage]
        assert booth is not None
        booth.learned = twenty_tokens

        data = await stream_of(gate, Dialect.ANTHROPIC)

        assert b"budget_exceeded" in data
        assert gate.rig.ledger.only.outcome is Outcome.BUDGET_EXCEEDED


async def test_soft_budgets_end_no_stream(
    simulator: Simulator, engine: AsyncEngine, dsn: str
) -> None:
    wish = for_everyone(1, mode="soft")
    async with gate_on(simulator, engine, dsn, wish, offers=(Offer(do="tokens=400"),)) as gate:
        told = last_event(await stream_of(gate))

        assert told["choices"][0]["finish_reason"] == "stop"
