"""Mirrored requests: asked of a second endpoint in the background, recorded, and never answered."""

import asyncio
import logging
import time

from gateway.chat.request import ChatRequest
from gateway.domain.attempts import OnAttemptEnd, OnAttemptStart
from gateway.domain.outcomes import Outcome
from gateway.execution.attempt import Attempt
from gateway.execution.relay import Relay
from gateway.execution.time_limit import TimeLimit
from gateway.execution.upstream import Access, Upstream
from gateway.providers.base import Fault, FaultError
from gateway.routing.plan import Candidate

MOST = 20
TOTAL_S = 120.0

_log = logging.getLogger("tollway.shadow")


class Shadows:
    """Keeps the tasks of mirrored requests and sees their ends. More than ``most`` are dropped."""

    def __init__(self, upstream: Upstream, *, most: int = MOST, total_s: float = TOTAL_S) -> None:
        self._upstream = upstream
        self._most = most
        self._total_s = total_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.started = 0
        self.dropped = 0
        self.unfit = 0
        """Requests whose copy nobody may serve."""

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def start(
        self,
        request: ChatRequest,
        candidate: Candidate,
        access: Access,
        *,
        number: int,
        on_start: OnAttemptStart,
        on_end: OnAttemptEnd,
    ) -> bool:
        """Ask in the background; False when too many are under way already.

        Whatever goes wrong is logged: nobody waits for it, and the request that is mirrored never
        suffers. Budgets for repeats are not touched, and nothing is tried twice.
        """
        if len(self._tasks) >= self._most:
            self.dropped += 1
            return False
        self.started += 1
        attempt = Attempt(candidate, number=number, kind="shadow", on_end=on_end)
        task = asyncio.create_task(self._ask(request, access, attempt, on_start), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    async def aclose(self, *, within_s: float) -> None:
        """Let them end in time, then cut them off; each still tells its end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    async def _ask(
        self, request: ChatRequest, access: Access, attempt: Attempt, on_start: OnAttemptStart
    ) -> None:
        on_start(attempt.start)
        until_s = time.monotonic() + self._total_s
        try:
            if request.stream:
                await self._read_stream(request, access, attempt, until_s=until_s)
            else:
                await self._upstream.complete(request, access, attempt, until_s=until_s)
        except FaultError as exc:
            attempt.fail(exc.fault)
        except asyncio.CancelledError:
            # Only `aclose` cancels.
            attempt.end(Outcome.GATEWAY_SHUTDOWN)
            raise
        except BaseException:
            attempt.end(Outcome.GATEWAY_ERROR)
            raise
        else:
            attempt.end(Outcome.SUCCESS)

    async def _read_stream(
        self, request: ChatRequest, access: Access, attempt: Attempt, *, until_s: float
    ) -> None:
        relay: Relay | None = None
        allowed_s = access.deadlines.first_token_reasoning_s
        try:
            try:
                with TimeLimit(min(allowed_s, until_s - time.monotonic())):
                    stream = await self._upstream.open(request, access, attempt)
                    relay = Relay(stream, attempt, access.deadlines, until_s=until_s)
                    await relay.begin()
            except TimeoutError as exc:
                raise FaultError(_silence(attempt, until_s)) from exc
            while await relay.next() is not None:
                pass
        finally:
            if relay is not None:
                await relay.aclose()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("a mirrored request failed here", exc_info=exc)


def _silence(attempt: Attempt, until_s: float) -> Fault:
    is_all = time.monotonic() >= until_s
    return Fault(
        outcome=Outcome.TOTAL_TIMEOUT if is_all else Outcome.FIRST_TOKEN_TIMEOUT,
        message="nothing was said in time",
        status_code=attempt.status_code,
    )
