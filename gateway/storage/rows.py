"""Records as the rows that `COPY` takes: every value is one that PostgreSQL accepts.

A single bad value makes `COPY` refuse a whole batch, so text is cleaned here and counts are
clamped; what would falsify money or time is refused, so that one record can be set aside.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import msgspec

from gateway.domain.ids import day_of
from gateway.domain.records import AttemptRecord, LateAttempts, RequestRecord
from gateway.storage.record_tables import attempt_record, request_record
from gateway.storage.table_kinds import USD_PRECISION, USD_SCALE
from pricing.usage import METERS, Usage

REQUEST_COPY_COLUMNS: tuple[str, ...] = tuple(map(str, request_record.columns.keys()))
ATTEMPT_COPY_COLUMNS: tuple[str, ...] = tuple(map(str, attempt_record.columns.keys()))

MAX_TEXT_LENGTH = 2_000
"""Characters; longer texts are cut."""
MAX_SESSION_ID_LENGTH = 256
"""Characters; it is indexed, and an entry of an index holds no more than 2,704 bytes."""
MAX_JSON_DEPTH = 32

FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(2100, 1, 1)
"""No record is from outside of these, so a broken clock or id makes no partition for year 9000."""

_USD_LIMIT = Decimal(10) ** (USD_PRECISION - USD_SCALE)
_MAX_INT2, _MAX_INT4, _MAX_INT8 = 2**15 - 1, 2**31 - 1, 2**63 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_NO_USAGE: tuple[int | None, ...] = (None,) * len(METERS)


class UnstorableRecordError(ValueError):
    """A value that no row may hold; names the column, not the value."""


def record_day(record: RequestRecord | LateAttempts) -> date:
    """The UTC day whose partitions hold the record and its attempts.

    Raises:
        UnstorableRecordError: the id carries no credible time.
    """
    try:
        day = day_of(record.id)
    except (ValueError, OverflowError, OSError) as exc:
        raise UnstorableRecordError("id: carries no time") from exc
    if not FIRST_DAY <= day < LAST_DAY:
        raise UnstorableRecordError("id: carries no credible time")
    return day


def request_row(record: RequestRecord) -> tuple[object, ...]:
    """The row of `request_record`, in the order of `REQUEST_COPY_COLUMNS`.

    Raises:
        UnstorableRecordError: money, time or a duration that cannot be true.
    """
    usages = [attempt.usage for attempt in record.attempts if attempt.usage is not None]
    return (
        record.id,
        record_day(record),
        _instant(record.received_at, "received_at"),
        record.key_id,
        _json(record.labels),
        _text(record.dialect),
        record.stream,
        _text(record.requested_model),
        _text_or_none(record.requested_provider),
        _text_or_none(record.used_model),
        _text_or_none(record.used_provider),
        _text_or_none(record.used_endpoint),
        _text_or_none(record.underlying_used_model),
        _clamp(record.status_code, _MAX_INT4),
        record.outcome.value,
        _text_or_none(record.error_kind),
        record.is_fallback,
        _ms_or_none(record.ttft_ms, "ttft_ms"),
        _ms(record.duration_ms, "duration_ms"),
        _ms_or_none(record.overhead_ms, "overhead_ms"),
        _text_or_none(record.finish_reason),
        _text_or_none(record.user),
        _session_id(record.session_id),
        [_text(warning) for warning in record.warnings],
        len(record.attempts),
        _total(usages, _prompt_tokens),
        _total(usages, _completion_tokens),
        _total(usages, _cached_tokens),
        _total(usages, _reasoning_tokens),
        _usd(record.cost_usd, "cost_usd"),
        _text(record.cost_status),
        _text_or_none(record.rule_version),
        _text(record.catalogue_version),
        _text(record.code_version),
        _json(record.plan),
        _json(record.tags),
        _usd(record.baseline_cost_usd, "baseline_cost_usd"),
        record.is_paid_by_caller,
    )


def attempt_rows(record: RequestRecord | LateAttempts) -> list[tuple[object, ...]]:
    """The rows of `attempt_record`, in the order of `ATTEMPT_COPY_COLUMNS`.

    Raises:
        UnstorableRecordError: money, time, a duration or a number that cannot be true.
    """
    day = record_day(record)
    labels = _json(record.labels)
    return [_attempt_row(record, attempt, day, labels) for attempt in record.attempts]


def _attempt_row(
    record: RequestRecord | LateAttempts, attempt: AttemptRecord, day: date, labels: str
) -> tuple[object, ...]:
    if not 1 <= attempt.number <= _MAX_INT2:
        raise UnstorableRecordError("number: not an attempt's number")
    cost = attempt.cost
    lines = cost.lines
    return (
        record.id,
        day,
        attempt.number,
        _instant(attempt.started_at, "started_at"),
        record.key_id,
        labels,
        _text(attempt.kind),
        _text(attempt.provider),
        _text(attempt.model),
        _text(attempt.endpoint),
        _text(attempt.provider_model),
        attempt.outcome.value,
        _clamp(attempt.status_code, _MAX_INT4),
        _text_or_none(attempt.error_code),
        _text_or_none(attempt.error_message),
        _text_or_none(attempt.upstream_id),
        _ms_or_none(attempt.ttft_ms, "ttft_ms"),
        _ms(attempt.duration_ms, "duration_ms"),
        _ms_or_none(attempt.retry_after_ms, "retry_after_ms"),
        _text_or_none(attempt.finish_reason),
        _text_or_none(attempt.native_finish_reason),
        _text_or_none(attempt.service_tier),
        attempt.usage_source,
        *(_NO_USAGE if attempt.usage is None else _meters(attempt.usage)),
        _usd(cost.total_usd, "cost_usd"),
        cost.status,
        cost.source,
        _text_or_none(cost.price_version),
        _usd(cost.computed_usd, "computed_cost_usd"),
        *(_usd(lines.get(meter), meter) for meter in METERS),
        # Copies are the operator's, and requests with callers' own credentials have none.
        isinstance(record, RequestRecord) and record.is_paid_by_caller,
        _text_or_none(attempt.served_region),
    )


def _meters(usage: Usage) -> tuple[int, ...]:
    return tuple(_clamp(getattr(usage, meter), _MAX_INT8) for meter in METERS)


def _total(usages: list[Usage], tokens: Callable[[Usage], int]) -> int | None:
    return _clamp(sum(map(tokens, usages)), _MAX_INT8) if usages else None


def _prompt_tokens(usage: Usage) -> int:
    return usage.prompt_tokens


def _completion_tokens(usage: Usage) -> int:
    return usage.completion_tokens


def _cached_tokens(usage: Usage) -> int:
    return usage.cache_read_tokens + usage.audio_cache_read_tokens


def _reasoning_tokens(usage: Usage) -> int:
    return usage.reasoning_tokens


def _text(value: str, limit: int = MAX_TEXT_LENGTH) -> str:
    if "\0" in value:
        value = value.replace("\0", "")
    if not value.isascii():
        value = _SURROGATE.sub(_REPLACEMENT, value)
    return value[:limit]


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _session_id(value: str | None) -> str | None:
    return None if value is None else _text(value, MAX_SESSION_ID_LENGTH)


def _clamp(value: int, limit: int) -> int:
    return max(-limit, min(value, limit))


def _usd(value: Decimal | None, column: str) -> Decimal | None:
    if value is None:
        return None
    if not value.is_finite() or value < 0 or value >= _USD_LIMIT:
        raise UnstorableRecordError(f"{column}: not an amount of money")
    return value


def _ms(value: float, column: str) -> float:
    if not math.isfinite(value):
        raise UnstorableRecordError(f"{column}: not a duration")
    return value


def _ms_or_none(value: float | None, column: str) -> float | None:
    return None if value is None else _ms(value, column)


def _instant(value: datetime, column: str) -> datetime:
    if value.tzinfo is None:
        raise UnstorableRecordError(f"{column}: an instant without a time zone")
    value = value.astimezone(UTC)
    if not FIRST_DAY <= value.date() < LAST_DAY:
        raise UnstorableRecordError(f"{column}: not a credible time")
    return value


def _json(value: object) -> str:
    """JSON that JSONB accepts; NaN has become null, as JSON has no word for it."""
    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeError, OverflowError, RecursionError):
        text = None
    # Also found in an escaped backslash, and then cleaned for nothing.
    if text is None or "\\u0000" in text:
        text = msgspec.json.encode(_clean(value, MAX_JSON_DEPTH)).decode()
    return text


def _clean(value: object, depth: int) -> object:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= _MAX_INT8 else str(value)
    if isinstance(value, dict):
        members = cast("dict[Any, Any]", value).items()
        return {_text(str(key)): _clean(member, depth - 1) for key, member in members if depth}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return [_clean(item, depth - 1) for item in items if depth]
    return value
