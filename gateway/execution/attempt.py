"""One attempt while it runs: what has been observed so far, and its end, told exactly once."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from gateway.domain.attempts import AttemptEnd, AttemptStart, OnAttemptEnd
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptKind
from gateway.providers.base import Completion, Fault, StreamEvent
from gateway.routing.plan import Candidate
from pricing.usage import Usage


class Attempt:
    """Collects what is seen of one call; the runner and the relay write to it."""

    __slots__ = (
        "_on_end",
        "_started_s",
        "candidate",
        "echo",
        "finish_reason",
        "first_content_s",
        "is_over",
        "is_usage_doubtful",
        "native_finish_reason",
        "prompt_usage",
        "reported_cost_usd",
        "served_region",
        "service_tier",
        "start",
        "status_code",
        "text_bytes",
        "upstream_id",
        "usage",
        "usage_details",
        "warnings",
    )

    def __init__(
        self,
        candidate: Candidate,
        *,
        number: int,
        kind: AttemptKind,
        on_end: OnAttemptEnd,
        credential: int = 0,
    ) -> None:
        self.candidate = candidate
        self.start = AttemptStart(
            number=number,
            kind=kind,
            endpoint=candidate.endpoint,
            price=candidate.price,
            started_at=datetime.now(UTC),
            credential=credential,
        )
        self._started_s = time.monotonic()
        self._on_end = on_end
        self.is_over = False
        self.status_code = 0
        self.first_content_s: float | None = None
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None
        self.service_tier: str | None = None
        self.served_region: str | None = None
        self.upstream_id: str | None = None
        self.usage: Usage | None = None
        self.prompt_usage: Usage | None = None
        self.is_usage_doubtful = False
        self.usage_details: Mapping[str, int] | None = None
        """Counts beside the meters that the provider told, such as accepted predictions."""
        self.reported_cost_usd: Decimal | None = None
        self.text_bytes = 0
        self.warnings: tuple[str, ...] = ()
        self.echo: bytes | None = None
        """The body that was sent, redacted, for a request that asked to be shown it."""

    @property
    def duration_ms(self) -> float:
        return (time.monotonic() - self._started_s) * 1000

    @property
    def ttft_ms(self) -> float | None:
        """From the attempt's start to its first content; None while there is none."""
        if self.first_content_s is None:
            return None
        return (self.first_content_s - self._started_s) * 1000

    def observe_event(self, event: StreamEvent) -> None:
        """Take over what a stream event tells; cumulative values replace earlier ones."""
        if event.has_content and self.first_content_s is None:
            self.first_content_s = time.monotonic()
        self.text_bytes += event.text_bytes
        if event.finish_reason is not None:
            self.finish_reason = event.finish_reason
            self.native_finish_reason = event.native_finish_reason
        if event.usage is not None:
            self.usage = event.usage
            self.is_usage_doubtful = event.is_usage_doubtful
            self.usage_details = event.usage_details
        if event.prompt_usage is not None:
            self.prompt_usage = event.prompt_usage
        if event.reported_cost_usd is not None:
            self.reported_cost_usd = event.reported_cost_usd
        if event.service_tier is not None:
            self.service_tier = event.service_tier
        if event.served_region is not None:
            self.served_region = event.served_region
        if event.upstream_id is not None:
            self.upstream_id = event.upstream_id

    def observe_completion(self, completion: Completion) -> None:
        """Take over what a whole answer tells."""
        self.finish_reason = completion.finish_reason
        self.native_finish_reason = completion.native_finish_reason
        self.usage = completion.usage
        self.is_usage_doubtful = completion.is_usage_doubtful
        self.usage_details = completion.usage_details
        self.reported_cost_usd = completion.reported_cost_usd
        self.service_tier = completion.service_tier
        self.served_region = completion.served_region
        self.upstream_id = completion.upstream_id
        self.text_bytes = completion.text_bytes

    def end(self, outcome: Outcome, fault: Fault | None = None) -> None:
        """Tell that the attempt is over. Later calls change nothing."""
        if self.is_over:
            return
        self.is_over = True
        status_code, upstream_id = self.status_code, self.upstream_id
        if fault is not None:
            status_code = fault.status_code or status_code
            upstream_id = fault.upstream_id or upstream_id
        self._on_end(
            AttemptEnd(
                start=self.start,
                outcome=outcome,
                status_code=status_code,
                error_code=fault.code if fault else None,
                error_message=fault.message if fault else None,
                upstream_id=upstream_id,
                ttft_ms=self.ttft_ms,
                duration_ms=self.duration_ms,
                finish_reason=self.finish_reason,
                native_finish_reason=self.native_finish_reason,
                service_tier=self.service_tier,
                served_region=self.served_region,
                usage=self.usage,
                prompt_usage=self.prompt_usage,
                is_usage_doubtful=self.is_usage_doubtful,
                reported_cost_usd=self.reported_cost_usd,
                text_bytes=self.text_bytes,
                retry_after_ms=fault.retry_after_ms if fault else None,
                echo=self.echo,
            )
        )

    def fail(self, fault: Fault) -> None:
        """End with the outcome of a fault."""
        self.end(fault.outcome, fault)
