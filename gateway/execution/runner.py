"""The one attempt loop, for whole answers and for streams: tries candidates until one answers."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.attempts import OnAttemptEnd, OnAttemptStart
from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import CONSEQUENCES, Consequence, Outcome
from gateway.execution.attempt import Attempt
from gateway.execution.failures import FailedAttempt, error_of
from gateway.execution.relay import Relay
from gateway.execution.time_limit import TimeLimit
from gateway.execution.upstream import Access, StaleConnectionFaultError, Upstream
from gateway.providers.base import Completion, Fault, FaultError
from gateway.routing.plan import Candidate
from pricing.catalogue import Endpoint

_BACKOFF_BASE_S = 0.1
_BACKOFF_CAP_S = 2.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How far the loop goes for one request."""

    max_attempts: int = 3
    total_s: float = 600.0


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt that answered: with a whole completion, or with a stream that has begun."""

    attempt: Attempt
    completion: Completion | None = None
    relay: Relay | None = None


class Runner:
    """Runs plans. Stateless between requests."""

    def __init__(
        self, upstream: Upstream, limits: Limits, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._upstream = upstream
        self._limits = limits
        self._chance = chance

    async def run(
        self,
        request: ChatRequest,
        candidates: Sequence[Candidate],
        access_of: Callable[[Endpoint], Access],
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
        until_s = time.monotonic() + self._limits.total_s
        failed: list[FailedAttempt] = []
        position = 0
        repeats = 0
        has_met_stale_connection = False
        while True:
            candidate = candidates[position]
            attempt = Attempt(
                candidate,
                number=len(failed) + 1,
                kind="primary" if position == 0 else "fallback",
                on_end=on_end,
            )
            on_start(attempt.start)
            try:
                return await self._try(
                    request, access_of(candidate.endpoint), attempt, until_s=until_s
                )
            except asyncio.CancelledError:
                attempt.end(interruption.outcome)
                raise
            except FaultError as exc:
                fault = exc.fault
                is_stale = isinstance(exc, StaleConnectionFaultError)
                attempt.fail(fault)
            failed.append(
                FailedAttempt(
                    endpoint=candidate.endpoint.id,
                    provider=candidate.endpoint.provider,
                    fault=fault,
                )
            )
            if len(failed) >= self._limits.max_attempts or time.monotonic() >= until_s:
                raise error_of(failed)
            if is_stale and not has_met_stale_connection:
                # The provider closed an idle connection while we reused it: it has read nothing.
                has_met_stale_connection = True
                continue
            consequence = CONSEQUENCES[fault.outcome]
            following = _next_position(candidates, position, consequence)
            if following is not None:
                position = following
            elif consequence.repeat_last and repeats == 0:
                repeats += 1
                wait_s = self._backoff_s(fault)
                if time.monotonic() + wait_s >= until_s:
                    raise error_of(failed)
                await asyncio.sleep(wait_s)
            else:
                raise error_of(failed)

    async def _try(
        self, request: ChatRequest, access: Access, attempt: Attempt, *, until_s: float
    ) -> Served:
        try:
            if request.stream:
                relay = await self._begin_stream(request, access, attempt, until_s=until_s)
                return Served(attempt=attempt, relay=relay)
            completion = await self._upstream.complete(request, access, attempt, until_s=until_s)
        except (FaultError, asyncio.CancelledError):
            raise
        except BaseException:
            attempt.end(Outcome.GATEWAY_ERROR)
            raise
        attempt.end(Outcome.SUCCESS)
        return Served(attempt=attempt, completion=completion)

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

    def _backoff_s(self, fault: Fault) -> float:
        """Full jitter before the last endpoint is tried once more."""
        wait_s = self._chance() * min(_BACKOFF_BASE_S * 2, _BACKOFF_CAP_S)
        if fault.retry_after_ms is not None:
            wait_s = max(wait_s, min(fault.retry_after_ms / 1000, _BACKOFF_CAP_S))
        return wait_s


def _next_position(
    candidates: Sequence[Candidate], position: int, consequence: Consequence
) -> int | None:
    """The next candidate that an outcome lets us try; None when there is none."""
    model = candidates[position].endpoint.model
    for following in range(position + 1, len(candidates)):
        is_same_model = candidates[following].endpoint.model == model
        if consequence.next_endpoint or (consequence.next_model and not is_same_model):
            return following
    return None


def _late(attempt: Attempt, allowed_s: float, until_s: float) -> Fault:
    if time.monotonic() >= until_s:
        outcome, message = Outcome.TOTAL_TIMEOUT, "the request's whole time is used up"
    else:
        outcome, message = Outcome.FIRST_TOKEN_TIMEOUT, f"nothing was said within {allowed_s:g} s"
    return Fault(outcome=outcome, message=message, status_code=attempt.status_code)
