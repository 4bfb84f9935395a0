"""What the attempt loop observed of one attempt, and the callables through which it tells."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import msgspec

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptKind
from pricing.catalogue import Endpoint
from pricing.price import Price
from pricing.usage import Usage


class AttemptStart(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is about to send bytes upstream."""

    number: int
    kind: AttemptKind
    endpoint: Endpoint
    price: Price | None
    """As resolved when the plan was made, for this request's estimated prompt."""
    started_at: datetime
    credential: int = 0
    """Which of its provider's credentials it uses, counted from 0."""


class AttemptEnd(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is over, as observed; what it cost is settled elsewhere."""

    start: AttemptStart
    outcome: Outcome
    status_code: int = 0
    error_code: str | None = None
    error_message: str | None = None
    upstream_id: str | None = None
    ttft_ms: float | None = None
    duration_ms: float
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    service_tier: str | None = None
    served_region: str | None = None
    usage: Usage | None = None
    """As the provider reported it; None when it reported none."""
    is_usage_doubtful: bool = False
    """The provider's counts contradict each other and were made to fit."""
    reported_cost_usd: Decimal | None = None
    prompt_usage: Usage | None = None
    """What went in, where the provider told it before it answered."""
    text_bytes: int = 0
    """UTF-8 bytes that were generated and seen here."""
    retry_after_ms: float | None = None
    echo: bytes | None = None
    """The body that was sent, redacted; only when the request asked to be shown it. Never kept."""


OnAttemptStart = Callable[[AttemptStart], None]
"""Called before bytes go upstream; synchronous, so that no cancellation can come between. Where it
raises, the attempt does not begin."""

OnAttemptEnd = Callable[[AttemptEnd], None]
"""Called once for every started attempt, whatever ended it; synchronous for the same reason."""
