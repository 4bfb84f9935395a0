"""``GET /api/v1/generation?id=``: one request of the key, as it was recorded."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.api.account import answered
from gateway.api.chat import Authenticate
from gateway.api.headers import read_headers
from gateway.api.wire import MaybeUsd, encode, iso, json_response, usd
from gateway.domain.errors import GatewayError, InvalidRequestError
from gateway.domain.ids import day_of, parse_generation_id, to_generation_id
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.adjustments import Adjustment, adjustments_of, effective_request_usd
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.queries import read_record
from pricing.catalogue import Catalogue
from pricing.usage import Usage


class ProviderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt."""

    provider_name: str
    endpoint_id: str
    model: str
    status: int
    """The provider's HTTP status; 0 without any."""
    outcome: Outcome
    latency: float | None
    """Milliseconds to its first content; None when none came or the answer was whole."""
    duration: float
    """Milliseconds."""
    cost: MaybeUsd


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A request in OpenRouter's words. What is not known or not measured is null."""

    id: str
    upstream_id: str | None
    total_cost: MaybeUsd
    """Of all attempts together."""
    usage: MaybeUsd
    """The same."""
    cost_status: str
    cache_discount: None = None
    upstream_inference_cost: MaybeUsd
    """Of the attempt that answered, or of the last one."""
    created_at: str
    model: str | None
    requested_model: str
    app_id: None = None
    streamed: bool
    cancelled: bool
    provider_name: str | None
    latency: float | None
    """Milliseconds from the request's arrival to the first content; null without a stream."""
    moderation_latency: None = None
    generation_time: float
    """Milliseconds of the whole request."""
    finish_reason: str | None
    native_finish_reason: str | None
    tokens_prompt: int | None
    tokens_completion: int | None
    native_tokens_prompt: int | None
    native_tokens_completion: int | None
    native_tokens_completion_images: int | None
    native_tokens_reasoning: int | None
    native_tokens_cached: int | None
    num_media_prompt: None = None
    num_input_audio_prompt: None = None
    num_media_completion: int | None
    num_search_results: int | None
    origin: None = None
    is_byok: bool
    """The request brought its providers' credentials along: ``usage`` is what these bill."""
    external_user: str | None
    session_id: str | None
    api_type: str
    """``completions``, or ``embeddings``."""
    status: int
    """The HTTP status that the client was answered with; 499 when it hung up first."""
    outcome: Outcome
    is_fallback: bool
    warnings: tuple[str, ...]
    metadata: dict[str, str]
    """The request's own, as it was sent."""
    provider_responses: tuple[ProviderResponse, ...]


class GenerationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /api/v1/generation``."""

    data: Generation


def generation_routes(
    authenticate: Authenticate, ask: Asker, catalogue: Callable[[], Catalogue]
) -> list[HTTPRouteHandler]:
    """Reads from Postgres; 503 when it does not answer in time."""

    @get("/api/v1/generation", operation_id="getGeneration")
    async def generation(request: Request[Any, Any, Any]) -> Response[bytes]:
        """A request of this key, a moment after it was answered."""
        caller = authenticate(read_headers(request.scope["headers"]))
        wanted = request.query_params.get("id", "")
        if not wanted:
            raise InvalidRequestError(
                "`id` is missing: send the `id` of an answer, as in ?id=gen-…",
                param="id",
                code="missing",
            )
        try:
            request_id = parse_generation_id(wanted)
        except ValueError as exc:
            raise _not_found(wanted) from exc
        record, made = await answered(ask(lambda connection: _read(connection, request_id)))
        # One answer for what is not there and for what is another key's.
        if record is None or record.key_id != caller.key_id:
            raise _not_found(wanted)
        told = to_generation(record, catalogue(), made)
        return json_response(encode(GenerationAnswer(data=told)))

    return [generation]


async def _read(
    connection: Connection, request_id: UUID
) -> tuple[RequestRecord | None, list[Adjustment]]:
    record = await read_record(connection, request_id)
    made = [] if record is None else await adjustments_of(connection, record.id, day_of(record.id))
    return record, made


def to_generation(
    record: RequestRecord, catalogue: Catalogue, adjustments: Sequence[Adjustment] = ()
) -> Generation:
    """A record as clients are shown it, with its corrections; the plan and the labels are not."""
    corrected = {one.number: one.new_cost_usd for one in adjustments}
    cost_usd = effective_request_usd(record.cost_usd, adjustments)
    # A mirrored copy is the operator's affair.
    attempts = [attempt for attempt in record.attempts if attempt.kind != "shadow"]
    names = {provider.id: provider.name for provider in catalogue.providers.values()}
    served = next((a for a in reversed(attempts) if a.outcome is Outcome.SUCCESS), None)
    told = served or (attempts[-1] if attempts else None)
    usage = told.usage if told is not None else None
    return Generation(
        id=to_generation_id(record.id),
        upstream_id=told.upstream_id if told is not None else None,
        total_cost=usd(cost_usd),
        usage=usd(cost_usd),
        cost_status=record.cost_status,
        upstream_inference_cost=usd(
            None if told is None else corrected.get(told.number, told.cost.total_usd)
        ),
        created_at=iso(record.received_at) or "",
        model=told.model if told is not None else None,
        requested_model=record.requested_model,
        streamed=record.stream,
        is_byok=record.is_paid_by_caller,
        cancelled=record.outcome is Outcome.CLIENT_CANCELLED,
        provider_name=names.get(told.provider, told.provider) if told is not None else None,
        latency=record.ttft_ms,
        generation_time=record.duration_ms,
        finish_reason=record.finish_reason,
        native_finish_reason=told.native_finish_reason if told is not None else None,
        tokens_prompt=usage.prompt_tokens if usage else None,
        tokens_completion=usage.completion_tokens if usage else None,
        native_tokens_prompt=usage.prompt_tokens if usage else None,
        native_tokens_completion=usage.completion_tokens if usage else None,
        native_tokens_completion_images=usage.image_output_tokens if usage else None,
        native_tokens_reasoning=usage.reasoning_tokens if usage else None,
        native_tokens_cached=_cached(usage) if usage else None,
        num_media_completion=usage.images if usage else None,
        num_search_results=usage.web_searches if usage else None,
        external_user=record.user,
        session_id=record.session_id,
        api_type="embeddings" if record.plan.get("api") == "embeddings" else "completions",
        status=record.status_code,
        outcome=record.outcome,
        is_fallback=record.is_fallback,
        warnings=record.warnings,
        metadata=record.tags,
        provider_responses=tuple(
            _response(attempt, names, corrected.get(attempt.number, attempt.cost.total_usd))
            for attempt in attempts
        ),
    )


def _cached(usage: Usage) -> int:
    return usage.cache_read_tokens + usage.audio_cache_read_tokens


def _response(
    attempt: AttemptRecord, names: dict[str, str], cost_usd: Decimal | None
) -> ProviderResponse:
    return ProviderResponse(
        provider_name=names.get(attempt.provider, attempt.provider),
        endpoint_id=attempt.endpoint,
        model=attempt.model,
        status=attempt.status_code,
        outcome=attempt.outcome,
        latency=attempt.ttft_ms,
        duration=attempt.duration_ms,
        cost=usd(cost_usd),
    )


def _not_found(wanted: str) -> GatewayError:
    return GatewayError(
        f"there is no generation {wanted[:80]!r} of this key; records appear a moment after "
        "their answer",
        status=404,
        kind="invalid_request_error",
        code="generation_not_found",
    )
