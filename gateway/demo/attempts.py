"""How an attempt of the demo goes: how fast each provider is, and what goes wrong how often.

Pure but for the chance, which comes in as a seeded generator.
"""

import math
import random
from collections.abc import Sequence
from datetime import datetime

import msgspec

from gateway.demo.scenario import Incident
from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.outcomes import Outcome
from gateway.simulator.manifest import MANIFEST
from pricing.usage import Usage

_BYTES_PER_TOKEN = 4
_MS_PER_S = 1_000
_PREFILL_TOKENS_PER_MS = 60.0
"""How much longer the first token takes with a longer prompt."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a request would come to wherever it is answered."""

    prompt_tokens: int
    answer_tokens: int
    max_tokens: int | None
    reasoning_tokens: int
    cached_share: float
    """Of the prompt, where the provider has a price for it."""
    is_stream: bool
    calls_tool: bool
    hangs_up_after: float | None
    """Share of the answer after which the caller goes away; None when it stays."""
    is_filtered: bool


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a provider is, and how often one of its calls fails."""

    first_token_ms: float
    sigma: float
    tokens_per_s: float
    failures: float


_SIGMAS = {"simulated-dune": 0.55, "simulated-elm": 0.4}
_FAILURES = {
    "simulated-atlas": 0.004,
    "simulated-birch": 0.005,
    "simulated-cedar": 0.009,
    "simulated-dune": 0.016,
    "simulated-elm": 0.006,
}
PACES: dict[str, Pace] = {
    provider.id: Pace(
        first_token_ms=provider.first_token_ms,
        sigma=_SIGMAS.get(provider.id, 0.45),
        tokens_per_s=provider.tokens_per_s,
        failures=_FAILURES[provider.id],
    )
    for provider in MANIFEST
}


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome
    status_code: int = 0
    code: str | None = None
    message: str | None = None
    took_ms: float
    is_exact: bool = False
    """A limit of ours ended it, so it always takes as long."""
    retry_after_ms: float | None = None
    seen: float = 0.0
    """Share of the answer that had come."""


_OVERLOADED = _Failure(
    outcome=Outcome.OVERLOADED,
    status_code=503,
    code="overloaded",
    message="The model is overloaded. Try again later.",
    took_ms=180,
)
_BROKEN = _Failure(
    outcome=Outcome.SERVER_ERROR,
    status_code=500,
    code="server_error",
    message="The server had an error while processing the request.",
    took_ms=420,
)
_UNREACHABLE = _Failure(
    outcome=Outcome.CONNECT_TIMEOUT,
    message="No connection within 3 s.",
    took_ms=3_000,
    is_exact=True,
)
_SILENT = _Failure(
    outcome=Outcome.FIRST_TOKEN_TIMEOUT,
    message="No answer began within 60 s.",
    took_ms=60_000,
    is_exact=True,
)
_LIMITED = _Failure(
    outcome=Outcome.RATE_LIMITED,
    status_code=429,
    code="rate_limit_exceeded",
    message="Rate limit reached for requests. Try again in 2 s.",
    took_ms=90,
    retry_after_ms=2_000,
)
_LIMITED_FOR_LONGER = msgspec.structs.replace(
    _LIMITED,
    message="Rate limit reached for tokens. Try again in 40 s.",
    retry_after_ms=40_000,
)
_BUSY = msgspec.structs.replace(
    _OVERLOADED,
    message="The model is overloaded. Try again in 90 s.",
    retry_after_ms=90_000,
)
_CUT_OFF = _Failure(
    outcome=Outcome.READ_ERROR,
    status_code=200,
    message="The connection broke before the answer was complete.",
    took_ms=1_500,
    seen=0.4,
)
_GARBLED = _Failure(
    outcome=Outcome.BAD_RESPONSE,
    status_code=200,
    message="The answer is not JSON.",
    took_ms=350,
)
_FILTERED = _Failure(
    outcome=Outcome.CONTENT_FILTER,
    status_code=400,
    code="content_filter",
    message="The prompt was refused by the provider's content filter.",
    took_ms=140,
)

_Table = tuple[tuple[_Failure, ...], tuple[float, ...]]
_USUAL: _Table = (
    (_BROKEN, _OVERLOADED, _LIMITED, _SILENT, _UNREACHABLE, _CUT_OFF, _GARBLED),
    (0.34, 0.2, 0.24, 0.03, 0.06, 0.08, 0.05),
)
_OUTAGE: _Table = ((_UNREACHABLE, _OVERLOADED, _BROKEN, _SILENT), (0.3, 0.45, 0.22, 0.03))
_LIMITS: _Table = ((_LIMITED_FOR_LONGER,), (1.0,))
_SLOWED: _Table = ((_BUSY, _SILENT), (0.9, 0.1))
_SLOWED_FAILURES = 0.02


def attempt(
    start: AttemptStart, ask: Ask, chance: random.Random, under_way: Sequence[Incident]
) -> AttemptEnd:
    """What comes of an attempt that begins while these incidents are under way."""
    provider = start.endpoint.provider
    pace = PACES[provider]
    failures, table, slowness = pace.failures, _USUAL, 1.0
    for incident in under_way:
        if incident.provider != provider:
            continue
        if incident.trouble == "slow":
            slowness = incident.strength
            failures += _SLOWED_FAILURES
            table = _SLOWED
        else:
            failures = incident.strength
            table = _OUTAGE if incident.trouble == "outage" else _LIMITS
    if ask.is_filtered:
        return _failed(start, ask, chance, _FILTERED)
    if chance.random() < failures:
        return _failed(start, ask, chance, chance.choices(*table)[0])
    return _answered(start, ask, chance, pace, slowness)


def _answered(
    start: AttemptStart, ask: Ask, chance: random.Random, pace: Pace, slowness: float
) -> AttemptEnd:
    first_ms = slowness * (
        pace.first_token_ms * math.exp(chance.gauss(0.0, pace.sigma))
        + ask.prompt_tokens / _PREFILL_TOKENS_PER_MS
    )
    tokens_per_s = pace.tokens_per_s * math.exp(chance.gauss(0.0, 0.22)) / slowness
    is_reasoning = start.endpoint.capabilities.get("reasoning") is True
    reasoning = ask.reasoning_tokens if is_reasoning else 0
    answer = ask.answer_tokens
    is_cut = ask.max_tokens is not None and answer + reasoning > ask.max_tokens
    if ask.max_tokens is not None and is_cut:
        reasoning = min(reasoning, ask.max_tokens)
        answer = ask.max_tokens - reasoning
    if start.endpoint.capabilities.get("reasoning") is True and not ask.is_stream:
        first_ms += reasoning / tokens_per_s * _MS_PER_S
    writing_ms = (answer + reasoning) / tokens_per_s * _MS_PER_S
    if ask.hangs_up_after is not None:
        return AttemptEnd(
            start=start,
            outcome=Outcome.CLIENT_CANCELLED,
            status_code=200,
            upstream_id=_upstream_id(chance),
            ttft_ms=round(first_ms, 3),
            duration_ms=round(first_ms + writing_ms * ask.hangs_up_after, 3),
            text_bytes=int(answer * ask.hangs_up_after) * _BYTES_PER_TOKEN,
        )
    has_cache = start.price is not None and start.price.cache_read_usd_per_mtok is not None
    cached = int(ask.prompt_tokens * ask.cached_share) if has_cache else 0
    finish = "length" if is_cut else "tool_calls" if ask.calls_tool else "stop"
    return AttemptEnd(
        start=start,
        outcome=Outcome.SUCCESS,
        status_code=200,
        upstream_id=_upstream_id(chance),
        ttft_ms=round(first_ms, 3) if ask.is_stream else None,
        duration_ms=round(first_ms + writing_ms, 3),
        finish_reason=finish,
        native_finish_reason=finish,
        usage=Usage(
            input_tokens=ask.prompt_tokens - cached,
            cache_read_tokens=cached,
            output_tokens=answer,
            reasoning_tokens=reasoning,
            requests=1,
        ),
    )


def _failed(start: AttemptStart, ask: Ask, chance: random.Random, failure: _Failure) -> AttemptEnd:
    took_ms = failure.took_ms
    if not failure.is_exact:
        took_ms *= math.exp(chance.gauss(0.0, 0.5))
    seen = int(ask.answer_tokens * failure.seen) if ask.is_stream else 0
    return AttemptEnd(
        start=start,
        outcome=failure.outcome,
        status_code=failure.status_code,
        error_code=failure.code,
        error_message=failure.message,
        ttft_ms=round(took_ms / 2, 3) if seen else None,
        duration_ms=round(took_ms, 3),
        text_bytes=seen * _BYTES_PER_TOKEN,
        retry_after_ms=failure.retry_after_ms,
    )


def _upstream_id(chance: random.Random) -> str:
    return f"chatcmpl-{chance.getrandbits(96):024x}"


def began_at(under_way: Sequence[Incident], at: datetime) -> list[Incident]:
    """Those of the incidents that are under way at a moment."""
    return [incident for incident in under_way if incident.since <= at < incident.until]
