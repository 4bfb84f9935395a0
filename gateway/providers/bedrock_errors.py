"""Classifies what Bedrock sends instead of an answer: exceptions, as statuses or inside a stream.

The name of an exception stands in ``x-amzn-ErrorType`` (with a namespace behind a colon), in
``__type`` (with one before a hash), or in the headers of a message of a stream.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault
from gateway.providers.refusals import ErrorBody, classify, parse_error_body
from gateway.providers.retry_hints import retry_after_ms
from gateway.providers.scrub import scrub

# Names with a small first letter, as streams write them; with the status that each stands for.
_EXCEPTIONS: Final[dict[str, tuple[int, Outcome | None]]] = {
    "validationException": (400, None),
    "serializationException": (400, Outcome.INVALID_REQUEST),
    "throttlingException": (429, Outcome.RATE_LIMITED),
    "tooManyRequestsException": (429, Outcome.RATE_LIMITED),
    "serviceQuotaExceededException": (400, Outcome.QUOTA_EXHAUSTED),
    # The model is being loaded: the service asks to try again, nothing is used up.
    "modelNotReadyException": (429, Outcome.OVERLOADED),
    "modelTimeoutException": (408, Outcome.FIRST_TOKEN_TIMEOUT),
    "modelErrorException": (424, Outcome.SERVER_ERROR),
    "modelStreamErrorException": (424, Outcome.SERVER_ERROR),
    "internalServerException": (500, Outcome.SERVER_ERROR),
    "internalFailure": (500, Outcome.SERVER_ERROR),
    "serviceUnavailableException": (503, Outcome.OVERLOADED),
    "resourceNotFoundException": (404, Outcome.NOT_FOUND),
    "unknownOperationException": (404, Outcome.NOT_FOUND),
    "accessDeniedException": (403, None),
    "unrecognizedClientException": (403, Outcome.AUTH_FAILED),
    "invalidClientTokenId": (403, Outcome.AUTH_FAILED),
    "invalidSignatureException": (403, Outcome.AUTH_FAILED),
    "incompleteSignatureException": (403, Outcome.AUTH_FAILED),
    "incompleteSignature": (403, Outcome.AUTH_FAILED),
    "missingAuthenticationTokenException": (403, Outcome.AUTH_FAILED),
    "missingAuthenticationToken": (403, Outcome.AUTH_FAILED),
    "expiredTokenException": (403, Outcome.AUTH_FAILED),
    "expiredToken": (403, Outcome.AUTH_FAILED),
    "requestExpired": (403, Outcome.AUTH_FAILED),
    "optInRequired": (403, Outcome.AUTH_FAILED),
}
_CONTEXT: Final = re.compile(
    r"too many total text bytes|exceeds? (the )?context|input is too long|prompt is too long"
)
# About one model, while the credential is good for others.
_MODEL: Final = re.compile(
    r"access to the model|model (use case|identifier is invalid)|invalid model identifier"
    r"|on-demand throughput|inference profile|end of its life|legacy"
)
_MOST_BYTES: Final = 64 * 1024


def name_of_exception(headers: Mapping[str, str], body: bytes) -> str | None:
    """The exception's name with a small first letter; None when nothing tells it."""
    name = headers.get("x-amzn-errortype", "").partition(":")[0]
    if not name:
        try:
            value: object = msgspec.json.decode(body[:_MOST_BYTES])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if isinstance(value, dict):
            kind = cast("dict[str, Any]", value).get("__type")
            name = kind.rpartition("#")[2].partition(":")[0] if isinstance(kind, str) else ""
    name = name.strip()
    return name[:1].lower() + name[1:] if name else None


def parse_error(status: int, headers: Mapping[str, str], body: bytes, provider: str) -> Fault:
    """Classify an answer that is not 2xx. Never raises."""
    name = name_of_exception(headers, body)
    message = _message(body)
    known = _EXCEPTIONS.get(name or "")
    outcome = None if known is None else known[1]
    if outcome is None:
        outcome = _by_words(status, name, message)
    return Fault(
        outcome=outcome,
        message=f"{provider} answered {status}: {scrub(message) or 'no explanation'}"[:512],
        status_code=status,
        code=scrub(name)[:64] if name else None,
        retry_after_ms=retry_after_ms(headers),
        upstream_id=headers.get("x-amzn-requestid"),
    )


def fault_in_stream(name: str, payload: bytes, provider: str) -> Fault:
    """A fault from an exception inside a stream, or from a body that came with a good status."""
    name = name[:1].lower() + name[1:]
    status, outcome = _EXCEPTIONS.get(name, (500, Outcome.SERVER_ERROR))
    message = _message(payload)
    if outcome is None:
        outcome = _by_words(status, name, message)
    return Fault(
        outcome=outcome,
        message=f"{provider} failed inside its answer: {scrub(message) or name}"[:512],
        status_code=status,
        code=scrub(name)[:64] or None,
    )


def _by_words(status: int, name: str | None, message: str) -> Outcome:
    lowered = message[:2048].lower()
    if _CONTEXT.search(lowered):
        return Outcome.CONTEXT_LENGTH
    if status in {400, 403} and _MODEL.search(lowered):
        return Outcome.NOT_FOUND
    return classify(status, ErrorBody(message=message, code=name))


def _message(body: bytes) -> str:
    found = parse_error_body(body)
    if found.message:
        return found.message
    try:
        value: object = msgspec.json.decode(body[:_MOST_BYTES])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    # Some of AWS's services write the member with a capital.
    text = cast("dict[str, Any]", value).get("Message") if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""
