"""The ``metadata`` of an answer: what was asked for, who answered, and every attempt on the way."""

from collections.abc import Sequence

import msgspec

from gateway.domain.outcomes import LLMGATEWAY_ERROR_TYPES, Outcome
from gateway.domain.records import AttemptRecord

LISTED_POOL = 24
"""Longer pools are cut."""


class RoutingStep(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as clients see it."""

    provider: str
    model: str
    """The provider's own name of the model."""
    status_code: int
    """0 when there was no answer."""
    error_type: str
    succeeded: bool
    outcome: Outcome
    duration_ms: float
    ttft_ms: float | None


class AnswerMetadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an answer comes from."""

    requested_model: str
    requested_provider: str | None
    used_model: str | None
    used_provider: str | None
    underlying_used_model: str | None
    routing: tuple[RoutingStep, ...]
    attempts: int
    strategy: str | None
    warnings: tuple[str, ...]
    repairs: tuple[str, ...] = ()
    """What response healing did; left out when it had nothing to do."""
    pool: tuple[str, ...] = ()
    """Models that ``auto`` chose between; left out when the request named its own."""
    plan: msgspec.Raw | None = None
    """The decision in full, as ``/v1/explain`` tells it; left out unless ``debug.explain`` asks."""


def to_routing_steps(attempts: Sequence[AttemptRecord]) -> tuple[RoutingStep, ...]:
    """The attempts in the order in which they were made."""
    return tuple(
        RoutingStep(
            provider=attempt.provider,
            model=attempt.provider_model,
            status_code=attempt.status_code,
            error_type=LLMGATEWAY_ERROR_TYPES.get(attempt.outcome, "upstream_error"),
            succeeded=attempt.outcome is Outcome.SUCCESS,
            outcome=attempt.outcome,
            duration_ms=round(attempt.duration_ms, 3),
            ttft_ms=None if attempt.ttft_ms is None else round(attempt.ttft_ms, 3),
        )
        for attempt in attempts
    )


def make_metadata(
    *,
    requested_model: str,
    requested_provider: str | None,
    attempts: Sequence[AttemptRecord],
    underlying_used_model: str | None = None,
    strategy: str | None = None,
    warnings: Sequence[str] = (),
    repairs: Sequence[str] = (),
    pool: Sequence[str] = (),
    plan: bytes | None = None,
) -> AnswerMetadata:
    """Metadata from the attempts; the last one that succeeded is the one that was used.

    ``underlying_used_model`` is the name in the provider's own answer; None falls back to the name
    that the provider was asked for.
    """
    used = next((a for a in reversed(attempts) if a.outcome is Outcome.SUCCESS), None)
    return AnswerMetadata(
        requested_model=requested_model,
        requested_provider=requested_provider,
        used_model=used.model if used else None,
        used_provider=used.provider if used else None,
        underlying_used_model=(underlying_used_model or used.provider_model) if used else None,
        routing=to_routing_steps(attempts),
        attempts=len(attempts),
        strategy=strategy,
        warnings=tuple(dict.fromkeys(warnings)),
        repairs=tuple(repairs),
        pool=tuple(pool[:LISTED_POOL]),
        plan=None if plan is None else msgspec.Raw(plan),
    )


_ENCODER = msgspec.json.Encoder()


def render_metadata(metadata: AnswerMetadata) -> bytes:
    """The metadata as JSON."""
    return _ENCODER.encode(metadata)
