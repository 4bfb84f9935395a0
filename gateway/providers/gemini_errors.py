"""What Google's errors mean: ``google.rpc.Status`` in a body, in an array, or in a stream.

The status alone says little: an invalid key is a 400, spent quotas of a day and of a minute are
both a 429 in the same words. The details tell (google/rpc/error_details.proto).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import structs

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault
from gateway.providers.refusals import make_fault, make_fault_in_answer, read_error
from gateway.providers.refusals import parse_error_body as parse_any_error_body
from gateway.providers.retry_hints import parse_duration_ms

_KEY_REASONS: Final = frozenset(
    {
        "API_KEY_INVALID",
        "API_KEY_EXPIRED",
        "API_KEY_SERVICE_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "ACCESS_TOKEN_EXPIRED",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "ACCOUNT_STATE_INVALID",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "IAM_PERMISSION_DENIED",
        "SERVICE_DISABLED",
    }
)
_KEY_WORDS: Final = ("api key not valid", "api key expired", "api key not found")
_TOO_MANY: Final = 429


class _Facts(msgspec.Struct, kw_only=True, gc=False):
    """What the details of an error say."""

    reasons: set[str]
    quotas: list[str]
    wait_ms: float | None = None


def read_google_error(status: int, headers: Mapping[str, str], body: bytes, provider: str) -> Fault:
    """Classify an answer that is an error. Never raises."""
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return make_fault(status, headers, parse_any_error_body(body), provider=provider)
    fault = make_fault(status, headers, read_error(value), provider=provider)
    return _sharpen(fault, value)


def read_google_error_in_answer(value: object, provider: str, *, status: int = 200) -> Fault:
    """Classify an error inside a 2xx answer or a stream; ``value`` is decoded JSON."""
    fault = make_fault_in_answer(read_error(value), provider=provider, status=status)
    return _sharpen(fault, value)


def _sharpen(fault: Fault, value: object) -> Fault:
    """The fault with what its details tell."""
    error = _error_of(value)
    facts = _read_details(error.get("details"))
    outcome = _outcome(fault, str(error.get("status", "")), str(error.get("message", "")), facts)
    wait_ms = facts.wait_ms if fault.retry_after_ms is None else fault.retry_after_ms
    return structs.replace(fault, outcome=outcome, retry_after_ms=wait_ms)


def _outcome(fault: Fault, name: str, message: str, facts: _Facts) -> Outcome:
    text = message.lower()
    if facts.reasons & _KEY_REASONS or any(words in text for words in _KEY_WORDS):
        return Outcome.AUTH_FAILED
    if "BILLING_DISABLED" in facts.reasons:
        return Outcome.QUOTA_EXHAUSTED
    if name == "FAILED_PRECONDITION":
        # The account may not be used from here, or has no billing: nothing the caller did.
        return Outcome.QUOTA_EXHAUSTED if "billing" in text else Outcome.AUTH_FAILED
    if fault.status_code == _TOO_MANY and facts.quotas:
        # The words are the same for both: "You exceeded your current quota, please check …".
        is_spent = any("PerDay" in quota for quota in facts.quotas) or "limit: 0" in text
        return Outcome.QUOTA_EXHAUSTED if is_spent else Outcome.RATE_LIMITED
    return fault.outcome


def _error_of(value: object) -> dict[str, Any]:
    if isinstance(value, list):
        items = cast("list[object]", value)
        value = items[0] if items else None
    error: object = cast("dict[str, Any]", value).get("error") if isinstance(value, dict) else None
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {}


def _read_details(details: object) -> _Facts:
    facts = _Facts(reasons=set(), quotas=[])
    if not isinstance(details, list):
        return facts
    for item in cast("list[object]", details):
        if not isinstance(item, dict):
            continue
        detail = cast("dict[str, Any]", item)
        reason, delay = detail.get("reason"), detail.get("retryDelay")
        if isinstance(reason, str):
            facts.reasons.add(reason)
        if isinstance(delay, str):
            facts.wait_ms = parse_duration_ms(delay)
        violations = detail.get("violations")
        if isinstance(violations, list):
            facts.quotas += [
                str(cast("dict[str, Any]", one).get("quotaId", ""))
                for one in cast("list[object]", violations)
                if isinstance(one, dict)
            ]
    return facts
