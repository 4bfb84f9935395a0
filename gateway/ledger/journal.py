"""The books of one request: every attempt as it begins and ends, and the record, exactly once."""

import time
from decimal import Decimal
from typing import Any, Protocol

from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.budgets import Charge, Reservation
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptBegun, AttemptRecord, LateAttempts, RequestRecord
from gateway.domain.token_ratio import PromptSize, RatioOf, usual_ratio
from gateway.ledger.settle import (
    RequestEnd,
    RequestFacts,
    begin_attempt,
    settle_attempt,
    settle_request,
)

_MS_PER_S = 1000.0


class Ledger(Protocol):
    """Where records go; each call is one synchronous write."""

    @property
    def is_writable(self) -> bool: ...

    def append_begun(self, begun: AttemptBegun) -> None: ...

    def append_record(self, record: RequestRecord) -> None: ...

    def append_late(self, late: LateAttempts) -> None: ...


class Journal:
    """Follows one request from its arrival. Nothing here waits for anything."""

    __slots__ = (
        "_arrived_s",
        "_ledger",
        "_prompt",
        "_ratio_of",
        "_upstream_s",
        "attempts",
        "facts",
        "first_content_s",
        "is_closed",
        "warnings",
    )

    def __init__(
        self,
        facts: RequestFacts,
        ledger: Ledger,
        *,
        prompt: PromptSize,
        ratio_of: RatioOf = usual_ratio,
    ) -> None:
        """Begin one.

        Args:
            facts: of the request.
            ledger: where records go.
            prompt: what estimates are made from where a provider does not count.
            ratio_of: bytes a token, by model.
        """
        self.facts = facts
        self._ledger = ledger
        self._prompt = prompt
        self._ratio_of = ratio_of
        self._arrived_s = time.monotonic()
        self._upstream_s: float | None = None
        self.first_content_s: float | None = None
        """When the first content was passed on, on the monotonic clock; None before."""
        self.attempts: list[AttemptRecord] = []
        self.warnings: tuple[str, ...] = ()
        self.is_closed = False

    def begin(self, start: AttemptStart, reservation: Reservation | None = None) -> None:
        """An attempt is about to send bytes: a crash from here on cannot hide it."""
        if self._upstream_s is None:
            self._upstream_s = time.monotonic()
        self._ledger.append_begun(
            begin_attempt(
                self.facts,
                start,
                prompt_tokens_estimate=self._prompt.tokens(self._ratio_of(start.endpoint.model)),
                reservation=reservation,
            )
        )

    def end(self, end: AttemptEnd) -> AttemptRecord:
        """An attempt is over."""
        attempt = self._settled(end)
        self.attempts.append(attempt)
        return attempt

    def _settled(self, end: AttemptEnd) -> AttemptRecord:
        if end.usage is not None:
            return settle_attempt(end, prompt_tokens_estimate=0)
        ratio = self._ratio_of(end.start.endpoint.model)
        return settle_attempt(
            end,
            prompt_tokens_estimate=self._prompt.tokens(ratio),
            output_bytes_per_token=ratio.output,
        )

    @property
    def next_number(self) -> int:
        """For an attempt after all that have ended."""
        return max((attempt.number for attempt in self.attempts), default=0) + 1

    def end_late(self, end: AttemptEnd) -> None:
        """An attempt is over that began once the record was written."""
        facts = self.facts
        attempt = self._settled(end)
        self._ledger.append_late(
            LateAttempts(
                id=facts.id,
                received_at=facts.received_at,
                key_id=facts.key_id,
                labels=facts.labels,
                attempts=(attempt,),
            )
        )

    def close(
        self,
        *,
        outcome: Outcome,
        status_code: int,
        plan: dict[str, Any],
        requested_provider: str | None = None,
        error_kind: str | None = None,
        underlying_used_model: str | None = None,
        charge: Charge | None = None,
        baseline_cost_usd: Decimal | None = None,
    ) -> RequestRecord | None:
        """Write the record; None when that was done before."""
        if self.is_closed:
            return None
        self.is_closed = True
        now_s = time.monotonic()
        record = settle_request(
            self.facts,
            RequestEnd(
                status_code=status_code,
                outcome=outcome,
                error_kind=error_kind,
                requested_provider=requested_provider,
                underlying_used_model=underlying_used_model,
                ttft_ms=self._since_arrival_ms(self.first_content_s),
                duration_ms=(now_s - self._arrived_s) * _MS_PER_S,
                overhead_ms=self._since_arrival_ms(self._upstream_s),
                warnings=self.warnings,
                plan=plan,
                charge=charge,
                baseline_cost_usd=baseline_cost_usd,
            ),
            self.attempts,
        )
        self._ledger.append_record(record)
        return record

    def _since_arrival_ms(self, instant_s: float | None) -> float | None:
        return None if instant_s is None else (instant_s - self._arrived_s) * _MS_PER_S
