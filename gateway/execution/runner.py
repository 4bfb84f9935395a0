"""The one attempt loop, for whole answers and for streams: tries candidates until one answers."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.attempts import OnAttemptEnd, OnAttemptStart
from gateway.domain.errors import BudgetExceededError
from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import CONSEQUENCES, Outcome
from gateway.execution.access import AccessBook
from gateway.execution.attempt import Attempt
from gateway.execution.course import Advice, Course, NoAdvice, Step
from gateway.execution.failures import error_of
from gateway.execution.hedge import Answer, Failure, Racer, race
from gateway.execution.progress import LONGEST_WAIT_S, Progress
from gateway.execution.relay import Relay
from gateway.execution.retry_budget import LATE_REPEAT, REPEAT, RetryBudget
from gateway.execution.time_limit import TimeLimit
from gateway.execution.upstream import Access, StaleConnectionFaultError, Upstream
from gateway.providers.base import Completion, Fault, FaultError
from gateway.routing.plan import Candidate

_BACKOFF_BASE_S = 0.1
_MS_PER_S = 1000.0
_SHORTEST_ANSWER = 16
"""Tokens; what is cut off before says nothing."""
_LATE = frozenset({Outcome.CONNECT_TIMEOUT, Outcome.FIRST_TOKEN_TIMEOUT, Outcome.IDLE_TIMEOUT})


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How far the loop goes for one request."""

    max_attempts: int = 3
    total_s: float = 600.0
    hedge_after_s: float | None = None
    """How long an endpoint may be silent before a second one is asked too; None: never."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt that answered: with a whole completion, or with a stream that has begun."""

    attempt: Attempt
    completion: Completion | None = None
    relay: Relay | None = None


class Runner:
    """Runs plans. Between requests it remembers only what may be repeated."""

    def __init__(
        self,
        upstream: Upstream,
        limits: Limits,
        *,
        advice: Advice | None = None,
        budget: RetryBudget | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._upstream = upstream
        self._limits = limits
        self._advice = advice or NoAdvice()
        self._chance = chance
        self.budget = budget or RetryBudget()

    def apart(self) -> "Runner":
        """One that shares neither the advice nor the budget of this one, within its limits."""
        return Runner(self._upstream, self._limits, chance=self._chance)

    async def run(
        self,
        request: ChatRequest,
        candidates: Sequence[Candidate],
        book: AccessBook,
        *,
        on_start: OnAttemptStart,
        on_end: OnAttemptEnd,
        interruption: Interruption,
    ) -> Served:
        """Try the candidates in order until one answers.

        A stream counts as an answer from its first content-bearing event on; its attempt is then
        still open, and whoever relays it ends it. Every other attempt has been ended on return.

        Raises:
            GatewayError: no candidate answered; says what each of them did.
        """
        now_s = time.monotonic()
        run = Progress(
            request,
            candidates,
            book,
            Course(candidates, book, self._advice),
            on_start=on_start,
            on_end=on_end,
            interruption=interruption,
            until_s=now_s + self._limits.total_s,
        )
        step = run.course.first()
        self.budget.note_request(candidates[step.position].endpoint.id, now_s)
        while True:
            result = await self._try(run, step)
            if isinstance(result, Answer):
                attempt, completion, relay = result
                if completion is not None:
                    attempt.end(Outcome.SUCCESS)
                return Served(attempt=attempt, completion=completion, relay=relay)
            step = await self._next(run, result)

    async def _try(self, run: Progress, step: Step) -> Answer | Failure:
        """Ask one endpoint, and maybe a second beside it; the last failure if none answers."""
        hedge_after_s = self._limits.hedge_after_s
        attempt = run.begin(step)
        if hedge_after_s is None:
            result = await self._call(run, attempt)
            return result if isinstance(result, Answer) else run.note(result)
        raced = await race(
            Racer(attempt, self._call(run, attempt)),
            after_s=hedge_after_s,
            second=lambda: self._hedge(run, step),
            left_as=lambda: run.interruption.outcome,
        )
        if isinstance(raced, Answer):
            return raced
        for failure in raced:
            run.note(failure)
        return raced[-1]

    def _hedge(self, run: Progress, step: Step) -> Racer | None:
        now_s = time.monotonic()
        if run.begun >= self._limits.max_attempts or now_s >= run.until_s:
            return None
        target = run.candidates[step.position].endpoint.id
        other = run.course.beside(step) if self.budget.tokens(target, now_s) > 0 else None
        if other is None or not self.budget.take(target, now_s, cost=REPEAT):
            return None
        try:
            attempt = run.begin(other, kind="hedge")
        except BudgetExceededError:
            # Two at once cost more than one: the first goes on alone.
            return None
        return Racer(attempt, self._call(run, attempt))

    async def _next(self, run: Progress, last: Failure) -> Step:
        """Where to go after a failure, waited for if need be.

        Raises:
            GatewayError: nowhere.
        """
        step, outcome = run.steps[last.attempt], last.fault.outcome
        if run.begun >= self._limits.max_attempts or time.monotonic() >= run.until_s:
            raise error_of(run.failed)
        if last.is_stale and not run.has_met_stale_connection:
            # The provider closed an idle connection while we reused it: it has read nothing, so
            # that nothing is multiplied and nothing is to be paid.
            run.has_met_stale_connection = True
            return step
        if self._is_affordable(run, step, last.fault):
            return step
        following = run.course.after(step, outcome)
        if following is None:
            following = await self._repeat(run, step, last.fault)
        if following is None:
            following = run.course.against_advice(step, outcome)
        if following is None:
            raise error_of(run.failed)
        return following

    def _is_affordable(self, run: Progress, step: Step, fault: Fault) -> bool:
        """Whether to ask once more for as little as the account there can still pay.

        Providers reserve the largest answer that is asked for, most of which is never written.
        """
        cap, asked = fault.affordable_tokens, run.request.max_output_tokens
        if (
            cap is None
            or cap < _SHORTEST_ANSWER
            or run.caps
            or (asked is not None and cap >= asked)
        ):
            return False
        target = run.candidates[step.position].endpoint.id
        if not self.budget.take(target, time.monotonic(), cost=REPEAT):
            return False
        run.caps[step.position] = cap
        return True

    async def _repeat(self, run: Progress, step: Step, fault: Fault) -> Step | None:
        """Wait, and ask an endpoint once more: nobody else is left. None when that cannot help."""
        if run.has_repeated:
            return None
        told_ms = fault.retry_after_ms
        if fault.outcome is Outcome.RATE_LIMITED:
            if not run.ready_at_s:
                return None
            ready_at_s, step = min(run.ready_at_s)
            wait_s = max(0.0, ready_at_s - time.monotonic())
        elif not CONSEQUENCES[fault.outcome].repeat_last:
            return None
        else:
            # Full jitter, so that those who failed together do not come back together.
            wait_s = self._chance() * min(_BACKOFF_BASE_S * 2, LONGEST_WAIT_S)
            if told_ms is not None:
                wait_s = max(wait_s, min(told_ms / _MS_PER_S, LONGEST_WAIT_S))
        now_s = time.monotonic()
        if now_s + wait_s >= run.until_s:
            return None
        # A provider that said when to come back is resting until then, for everybody else.
        if told_ms is None and not run.course.may_repeat(step):
            return None
        target = run.candidates[step.position].endpoint.id
        cost = LATE_REPEAT if fault.outcome in _LATE else REPEAT
        if not self.budget.take(target, now_s, cost=cost):
            return None
        run.has_repeated = True
        await asyncio.sleep(wait_s)
        return step

    async def _call(self, run: Progress, attempt: Attempt) -> Answer | Failure:
        """One attempt from its first byte to its answer, or to its end."""
        request, until_s = run.request_of(attempt), run.until_s
        try:
            access = run.book(attempt.candidate.endpoint, attempt.start.credential)
            if request.stream:
                relay = await self._begin_stream(request, access, attempt, until_s=until_s)
                run.tell_cap(attempt)
                return Answer(attempt, None, relay)
            completion = await self._upstream.complete(request, access, attempt, until_s=until_s)
            run.tell_cap(attempt)
        except FaultError as exc:
            attempt.fail(exc.fault)
            return Failure(attempt, exc.fault, isinstance(exc, StaleConnectionFaultError))
        except asyncio.CancelledError:
            attempt.end(run.interruption.outcome)
            raise
        except BaseException:
            attempt.end(Outcome.GATEWAY_ERROR)
            raise
        return Answer(attempt, completion, None)

    async def _begin_stream(
        self, request: ChatRequest, access: Access, attempt: Attempt, *, until_s: float
    ) -> Relay:
        endpoint = access.target.endpoint
        allowed_s = (
            access.deadlines.first_token_reasoning_s
            if endpoint.capabilities.get("reasoning")
            else access.deadlines.first_token_s
        )
        relay: Relay | None = None
        try:
            with TimeLimit(min(allowed_s, until_s - time.monotonic())):
                stream = await self._upstream.open(request, access, attempt)
                relay = Relay(stream, attempt, access.deadlines, until_s=until_s)
                await relay.begin()
        except BaseException as exc:
            if relay is not None:
                await relay.aclose()
            if isinstance(exc, TimeoutError):
                raise FaultError(_late(attempt, allowed_s, until_s)) from exc
            raise
        return relay


def _late(attempt: Attempt, allowed_s: float, until_s: float) -> Fault:
    if time.monotonic() >= until_s:
        outcome, message = Outcome.TOTAL_TIMEOUT, "the request's whole time is used up"
    else:
        outcome, message = Outcome.FIRST_TOKEN_TIMEOUT, f"nothing was said within {allowed_s:g} s"
    return Fault(outcome=outcome, message=message, status_code=attempt.status_code)
