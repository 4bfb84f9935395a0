"""How far one request has come in the attempt loop: what began, what failed, what is left."""

import time
from collections.abc import Sequence

from msgspec.structs import replace

from gateway.chat.request import ChatRequest
from gateway.domain.attempts import OnAttemptEnd, OnAttemptStart
from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptKind
from gateway.execution.access import AccessBook
from gateway.execution.attempt import Attempt
from gateway.execution.course import Course, Step
from gateway.execution.failures import FailedAttempt
from gateway.execution.hedge import Failure
from gateway.routing.plan import Candidate

LONGEST_WAIT_S = 2.0
"""No longer is waited for before an endpoint is asked once more."""
_MS_PER_S = 1000.0


class Progress:
    """One request on its way through its candidates."""

    __slots__ = (
        "begun",
        "book",
        "candidates",
        "caps",
        "course",
        "failed",
        "has_met_stale_connection",
        "has_repeated",
        "interruption",
        "on_end",
        "on_start",
        "ready_at_s",
        "request",
        "started",
        "steps",
        "until_s",
    )

    def __init__(
        self,
        request: ChatRequest,
        candidates: Sequence[Candidate],
        book: AccessBook,
        course: Course,
        *,
        on_start: OnAttemptStart,
        on_end: OnAttemptEnd,
        interruption: Interruption,
        until_s: float,
    ) -> None:
        self.request = request
        self.candidates = candidates
        self.book = book
        self.course = course
        self.on_start = on_start
        self.on_end = on_end
        self.interruption = interruption
        self.until_s = until_s
        self.begun = 0
        self.started = -1
        """Position of the endpoint that was asked first."""
        self.steps: dict[Attempt, Step] = {}
        self.failed: list[FailedAttempt] = []
        self.ready_at_s: list[tuple[float, Step]] = []
        """Endpoints that said when their limit ends."""
        self.has_met_stale_connection = False
        self.has_repeated = False
        self.caps: dict[int, int] = {}
        """By position, how many tokens the credit there is enough for."""

    def begin(self, step: Step, *, kind: AttemptKind | None = None) -> Attempt:
        """Tell of an attempt, before any byte of it goes upstream."""
        if self.begun == 0:
            self.started = step.position
        self.begun += 1
        attempt = Attempt(
            self.candidates[step.position],
            number=self.begun,
            kind=kind or ("primary" if step.position == self.started else "fallback"),
            credential=step.credential,
            on_end=self.on_end,
        )
        self.steps[attempt] = step
        try:
            self.on_start(attempt.start)
        except BaseException:
            # It does not begin: the next one has its number.
            self.begun -= 1
            del self.steps[attempt]
            raise
        return attempt

    def request_of(self, attempt: Attempt) -> ChatRequest:
        """What is asked in an attempt: the request, or one for as much as can be paid."""
        cap = self.caps.get(self.steps[attempt].position)
        return self.request if cap is None else replace(self.request, max_output_tokens=cap)

    def tell_cap(self, attempt: Attempt) -> None:
        """Let the client know that less was asked for."""
        cap = self.caps.get(self.steps[attempt].position)
        if cap is not None:
            provider = attempt.candidate.endpoint.provider
            told = f"`max_tokens` was lowered to {cap}: the credit at {provider} pays for no more"
            attempt.warnings = (*attempt.warnings, told)

    def note(self, failure: Failure) -> Failure:
        """Remember a failure, for the error and for what may be waited for."""
        endpoint, fault = failure.attempt.candidate.endpoint, failure.fault
        self.failed.append(
            FailedAttempt(endpoint=endpoint.id, provider=endpoint.provider, fault=fault)
        )
        told_ms = fault.retry_after_ms
        if fault.outcome is Outcome.RATE_LIMITED and told_ms is not None:
            wait_s = told_ms / _MS_PER_S
            if wait_s <= LONGEST_WAIT_S:
                self.ready_at_s.append((time.monotonic() + wait_s, self.steps[failure.attempt]))
        return failure
