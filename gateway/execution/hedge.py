"""Two attempts at once, both paid for: when one is silent for long, a second one begins."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from gateway.domain.outcomes import Outcome
from gateway.execution.attempt import Attempt
from gateway.execution.relay import Relay
from gateway.providers.base import Completion, Fault


class Answer(NamedTuple):
    """What an attempt brought: a whole completion, or a stream that has begun to speak."""

    attempt: Attempt
    completion: Completion | None
    relay: Relay | None


class Failure(NamedTuple):
    """An attempt that failed and has been ended."""

    attempt: Attempt
    fault: Fault
    is_stale: bool
    """A reused connection was reset before any byte of an answer came."""


class Racer(NamedTuple):
    """An attempt that has been told of, and the call that it consists of."""

    attempt: Attempt
    call: Coroutine[None, None, Answer | Failure]


async def race(
    first: Racer,
    *,
    after_s: float,
    second: Callable[[], Racer | None],
    left_as: Callable[[], Outcome],
) -> Answer | list[Failure]:
    """The first answer; or both failures (one, if there was no second) in the order they came.

    Whoever loses is cut off, which closes its connection, and its attempt ends as superseded.

    Args:
        first: begins at once.
        after_s: how long it may be silent before there is a second one.
        second: makes the second one; None when there is none to be had.
        left_as: how attempts end when this is cancelled.
    """
    running: dict[asyncio.Task[Answer | Failure], Attempt] = {}
    failures: list[Failure] = []
    outcome = None
    try:
        running[asyncio.create_task(first.call, name="attempt")] = first.attempt
        done, _ = await asyncio.wait(running, timeout=after_s)
        if not done and (other := second()) is not None:
            running[asyncio.create_task(other.call, name="hedge")] = other.attempt
        while running:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task in done]:
                result = task.result()
                del running[task]
                if isinstance(result, Answer):
                    outcome = Outcome.SUPERSEDED
                    return result
                failures.append(result)
    except asyncio.CancelledError:
        outcome = left_as()
        raise
    else:
        return failures
    finally:
        if running:
            await _cut_off(running, outcome or Outcome.GATEWAY_ERROR)


async def _cut_off(
    running: dict[asyncio.Task[Answer | Failure], Attempt], outcome: Outcome
) -> None:
    """End the attempts that are left, then their calls; none is left behind unseen."""
    for attempt in running.values():
        attempt.end(outcome)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    for task in running:
        # A call that answered in the same moment holds a connection.
        if not task.cancelled() and task.exception() is None:
            result = task.result()
            if isinstance(result, Answer) and result.relay is not None:
                await result.relay.aclose()
