"""Classifies what a provider sends instead of an answer: error statuses, errors dressed up as 200.

Statuses alone are not enough: spent credit comes as 400, 402, 403 or 429, an invalid key as 400, a
missing model as 400. So the code and the words are read too; the words last, since they are the
provider's own.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault
from gateway.providers.retry_hints import retry_after_ms
from gateway.providers.scrub import scrub

_READ_AT_MOST_BYTES = 64 * 1024
_MAX_CODE_CHARACTERS = 64
_FIRST_ERROR_STATUS = 400
_LAST_ERROR_STATUS = 599
_FIRST_SERVER_STATUS = 500


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What could be found in an error body, in whatever shape it came."""

    message: str = ""
    code: str | None = None
    status_code: int | None = None
    """A number in the body that can be an HTTP status."""
    is_moderation: bool = False


def parse_error_body(body: bytes) -> ErrorBody:
    """Find message and code in any of the shapes that providers use. Never raises."""
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ErrorBody(message=_text_of_page(body[:_READ_AT_MOST_BYTES]))
    return read_error(value)


def read_error(value: object) -> ErrorBody:
    """`parse_error_body` for a body that is decoded already."""
    if isinstance(value, list):
        # Gemini's compatible API answers with a list of one error.
        items = cast("list[object]", value)
        value = items[0] if items else None
    if isinstance(value, str):
        return ErrorBody(message=value)
    if not isinstance(value, dict):
        return ErrorBody()
    members = cast("dict[str, Any]", value)
    for name in ("error", "errors", "detail", "message", "msg", "title"):
        inner = members.get(name)
        if inner:
            return _from_member(inner, members)
    return ErrorBody()


def _from_member(inner: object, outer: dict[str, Any]) -> ErrorBody:
    if isinstance(inner, list):
        items = cast("list[object]", inner)
        inner = items[0] if items else None
    if isinstance(inner, str):
        return ErrorBody(
            message=inner,
            code=_code(outer),
            status_code=_status(outer.get("status"), outer.get("code"), outer.get("status_code")),
        )
    if not isinstance(inner, dict):
        return ErrorBody()
    error = cast("dict[str, Any]", inner)
    message = error.get("message") or error.get("msg") or error.get("detail") or ""
    metadata: Any = error.get("metadata")
    facts = cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}
    raw = facts.get("raw")
    if isinstance(raw, str) and raw:
        message = f"{message}: {raw}"
    return ErrorBody(
        message=message if isinstance(message, str) else str(message),
        code=_code(error) or _code(outer),
        status_code=_status(error.get("code"), error.get("status"), outer.get("status")),
        is_moderation="flagged_input" in facts or "reasons" in facts,
    )


def _code(members: Mapping[str, Any]) -> str | None:
    for name in ("code", "type", "status", "error_code"):
        code = members.get(name)
        if isinstance(code, str) and code and not code.isdecimal():
            return scrub(code)[:_MAX_CODE_CHARACTERS]
    return None


def _status(*candidates: object) -> int | None:
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.isdecimal():
            candidate = int(candidate[:6])  # noqa: PLW2901
        if isinstance(candidate, int) and _FIRST_ERROR_STATUS <= candidate <= _LAST_ERROR_STATUS:
            return candidate
    return None


def _text_of_page(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    if "<" in text[:512]:
        title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.IGNORECASE)
        return f"an HTML page{': ' + title[1].strip() if title else ''}"
    return text[:1024]


_PHRASES: dict[Outcome, tuple[str, ...]] = {
    Outcome.QUOTA_EXHAUSTED: (
        r"insufficient[_ ](quota|balance|credit|funds)",
        r"billing",
        r"credit balance",
        r"exceeded your current quota",
        r"payment[_ ]required",
        r"out of credits",
        r"add (more )?credits",
        r"arrearage",
    ),
    Outcome.CONTEXT_LENGTH: (
        r"context[_ ](length|window|limit)",
        r"maximum context",
        r"(prompt|input) is too long",
        r"too many (input )?tokens",
        r"reduce the length",
        r"max_input_tokens",
        r"string_above_max_length",
        r"exceeds? the (maximum|model.?s maximum)( allowed)? (number of |input )?tokens",
    ),
    Outcome.CONTENT_FILTER: (
        r"content[_ ](filter|policy|management)",
        r"responsibleaipolicy",
        r"data_inspection_failed",
        r"moderation",
        r"prohibited use",
        r"flagged",
        r"safety (system|settings|filter)",
    ),
    Outcome.AUTH_FAILED: (
        r"invalid[_ ](x-)?api[_ -]key",
        r"incorrect api key",
        r"api[_ ]key not valid",
        r"api_key_invalid",
        r"authentication[_ ]error",
        r"invalid authentication",
        r"unauthorized",
        r"unauthenticated",
    ),
    Outcome.NOT_FOUND: (
        r"model[_ ]not[_ ]found",
        r"(no such|unknown|invalid) model",
        r"deploymentnotfound",
        r"model.{0,120}(does not exist|not found|is not available|decommissioned)",
    ),
    Outcome.UNSUPPORTED: (
        r"unsupported",
        r"(not|n't) support",
        r"unrecognized request argument",
        r"unknown[_ ](parameter|field|name)",
        r"extra inputs are not permitted",
        r"is not allowed for this model",
    ),
}
_WORDS = tuple((outcome, re.compile("|".join(words))) for outcome, words in _PHRASES.items())
_MEANINGS_OF_STATUS: dict[int, Outcome] = {
    400: Outcome.INVALID_REQUEST,
    401: Outcome.AUTH_FAILED,
    402: Outcome.QUOTA_EXHAUSTED,
    403: Outcome.AUTH_FAILED,
    404: Outcome.NOT_FOUND,
    405: Outcome.NOT_FOUND,
    # The provider gave up waiting, for its own model or for our bytes: it was late either way.
    408: Outcome.FIRST_TOKEN_TIMEOUT,
    409: Outcome.SERVER_ERROR,
    410: Outcome.NOT_FOUND,
    413: Outcome.TOO_LARGE,
    422: Outcome.UNSUPPORTED,
    425: Outcome.SERVER_ERROR,
    429: Outcome.RATE_LIMITED,
    # Groq's "flex tier capacity exceeded".
    498: Outcome.OVERLOADED,
    499: Outcome.SERVER_ERROR,
    503: Outcome.OVERLOADED,
    529: Outcome.OVERLOADED,
}
_READ_WORDS_OF = frozenset({400, 403, 404, 409, 413, 422, 429})
_CAN_BE = {
    403: {Outcome.QUOTA_EXHAUSTED, Outcome.CONTENT_FILTER},
    404: {Outcome.QUOTA_EXHAUSTED, Outcome.AUTH_FAILED},
    409: {Outcome.CONTEXT_LENGTH},
    413: {Outcome.CONTEXT_LENGTH},
    429: {Outcome.QUOTA_EXHAUSTED},
}
_RATE_WORDS = re.compile(
    r"rate[_ ]limit|tokens per (minute|day)|requests per (minute|day)|\btp[md]\b"
)
_OVERLOAD_WORDS = re.compile(r"overloaded|over capacity|no capacity|try again later")


def classify(status: int, body: ErrorBody) -> Outcome:
    """The outcome of an error status with what its body says."""
    if not _FIRST_ERROR_STATUS <= status <= _LAST_ERROR_STATUS:
        return Outcome.BAD_RESPONSE
    if body.is_moderation and status in _READ_WORDS_OF:
        return Outcome.CONTENT_FILTER
    if status not in _READ_WORDS_OF:
        default = (
            Outcome.SERVER_ERROR if status >= _FIRST_SERVER_STATUS else Outcome.INVALID_REQUEST
        )
        return _MEANINGS_OF_STATUS.get(status, default)
    code, message = (body.code or "").lower(), body.message[:2048].lower()
    if status == 413 and _RATE_WORDS.search(f"{code} {message}"):  # noqa: PLR2004
        # Groq says 413 when one request alone is above the tokens per minute.
        return Outcome.RATE_LIMITED
    possible = _CAN_BE.get(status)
    for text in (code, message):
        for outcome, words in _WORDS:
            if (possible is None or outcome in possible) and words.search(text):
                return outcome
    return _MEANINGS_OF_STATUS[status]


def make_fault(
    status: int,
    headers: Mapping[str, str],
    body: ErrorBody,
    *,
    provider: str,
    upstream_id: str | None = None,
) -> Fault:
    """A fault from an HTTP error."""
    message = scrub(body.message) or "no explanation"
    outcome = classify(status, body)
    return Fault(
        outcome=outcome,
        message=f"{provider} answered {status}: {message}"[:512],
        status_code=status,
        code=body.code,
        retry_after_ms=retry_after_ms(headers),
        upstream_id=upstream_id or headers.get("x-request-id"),
        affordable_tokens=_affordable(body.message) if outcome is Outcome.QUOTA_EXHAUSTED else None,
    )


# OpenRouter: "This request requires more credits, or fewer max_tokens. You requested up to 64000
# tokens, but can only afford 1234." https://openrouter.ai/docs/api-reference/errors
_AFFORDABLE = re.compile(r"can only afford (\d{1,9})\b")


def _affordable(message: str) -> int | None:
    found = _AFFORDABLE.search(message[:2048])
    return int(found[1]) if found is not None else None


def make_fault_in_answer(
    body: ErrorBody, *, provider: str, status: int = 200, upstream_id: str | None = None
) -> Fault:
    """A fault from an error inside an answer whose status was fine.

    Its own ``code`` decides when it is a status; else the words do, and without any it counts as a
    failure of the provider.
    """
    if body.status_code is not None:
        outcome = classify(body.status_code, body)
    else:
        outcome = _classify_words(body)
    message = scrub(body.message) or "no explanation"
    return Fault(
        outcome=outcome,
        message=f"{provider} failed inside its answer: {message}"[:512],
        status_code=body.status_code or status,
        code=body.code,
        upstream_id=upstream_id,
    )


def _classify_words(body: ErrorBody) -> Outcome:
    if body.is_moderation:
        return Outcome.CONTENT_FILTER
    for text in ((body.code or "").lower(), body.message[:2048].lower()):
        if _RATE_WORDS.search(text):
            return Outcome.RATE_LIMITED
        if _OVERLOAD_WORDS.search(text):
            return Outcome.OVERLOADED
        for outcome, words in _WORDS:
            if words.search(text):
                return outcome
    if body.code == "invalid_request_error":
        return Outcome.INVALID_REQUEST
    return Outcome.SERVER_ERROR
