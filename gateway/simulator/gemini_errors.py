"""Google's errors in Google's words: `google.rpc.Status` with its details, and scripted refusals.

Status names and HTTP codes: google/rpc/code.proto. Details: google/rpc/error_details.proto. An
invalid key is a 400 (`API_KEY_INVALID`), a missing one a 403; how long to wait stands in
`RetryInfo`, and no `Retry-After` header is sent.
"""

from typing import Any
from urllib.parse import parse_qs

import msgspec

from gateway.simulator.script import Behaviour
from gateway.simulator.wire import Arrival, RefusedError

_STATUSES: dict[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: (
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
        "cookie or other valid authentication credential.",
    ),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    408: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    409: ("ABORTED", "The operation was aborted."),
    413: ("INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred. Please retry or report."),
    501: ("UNIMPLEMENTED", "Operation is not implemented, or supported, or enabled."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}
_TYPE = "type.googleapis.com/google.rpc."
_VERTEX = "/publishers/google/models/"
_QUOTA = "generativelanguage.googleapis.com/generate_content_"


class GoogleError(RefusedError):
    """A refusal with the details that Google adds."""

    def __init__(self, status: int, name: str, message: str, details: list[Any]) -> None:
        super().__init__(status, message, kind=name)
        self.details = details


def refuse(status: int, message: str, *, details: list[Any] | None = None) -> GoogleError:
    """A refusal by HTTP status."""
    name = _STATUSES.get(status, ("INVALID_ARGUMENT" if status < 500 else "UNKNOWN", ""))[0]  # noqa: PLR2004 -- HTTP's own number
    return GoogleError(status, name, message, details or [])


def invalid(message: str, *, field: str | None = None) -> GoogleError:
    """400 INVALID_ARGUMENT, with the field when it is known."""
    details: list[Any] = []
    if field is not None:
        violation = {"field": field, "description": message}
        details = [{"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]}]
    return refuse(400, message, details=details)


def error_body(refusal: RefusedError) -> bytes:
    """The error object as JSON, also what an error inside a stream carries."""
    name = refusal.kind
    if not isinstance(refusal, GoogleError):
        name = refuse(refusal.status, "").kind
    error: dict[str, Any] = {"code": refusal.status, "message": refusal.message, "status": name}
    details = refusal.details if isinstance(refusal, GoogleError) else []
    if details:
        error["details"] = details
    return msgspec.json.encode({"error": error})


def scripted(behaviour: Behaviour, credential: str | None) -> RefusedError:
    """The refusal that a scripted ending stands for; an `error200` is a 500 in its text."""
    refusal = _scripted(behaviour, credential)
    if behaviour.message is not None:
        refusal.message = behaviour.message
    return refusal


def _scripted(behaviour: Behaviour, credential: str | None) -> RefusedError:
    ending = behaviour.ending
    if ending == "context_length":
        return context_exceeded(1_048_576, 1_100_000)
    if ending == "insufficient_quota":
        message = (
            "You exceeded your current quota, please check your plan and billing details. "
            "* Quota exceeded for metric: "
            f"{_QUOTA}free_tier_requests, limit: 250\nPlease retry in 34.074824224s."
        )
        return refuse(429, message, details=_quota("GenerateRequestsPerDay", "34.074824224s"))
    if ending == "content_policy":
        return refuse(400, "The prompt was blocked: it violates the prohibited use policy.")
    status = behaviour.status or 500
    if status == 401:  # noqa: PLR2004 -- HTTP's own number
        return refuse_credential(credential)
    if status == 429:  # noqa: PLR2004 -- HTTP's own number
        wait = behaviour.retry_after or "7"
        message = (
            f"You exceeded your current quota. * Quota exceeded for metric: {_QUOTA}paid_tier_"
            f"input_token_count, limit: 1000000\nPlease retry in {wait}s."
        )
        return refuse(
            429, message, details=_quota("GenerateContentInputTokensPerMinute", f"{wait}s")
        )
    name, message = _STATUSES.get(status, ("UNKNOWN", f"Error {status}."))
    return GoogleError(status, name, message, [])


def _quota(quota: str, wait: str) -> list[Any]:
    violation = {
        "quotaMetric": f"{_QUOTA}requests",
        "quotaId": f"{quota}PerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": "simulated"},
    }
    return [
        {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]},
        {"@type": f"{_TYPE}RetryInfo", "retryDelay": wait},
    ]


def credential(headers: dict[str, str]) -> str | None:
    """The key, or the bearer token, among the headers."""
    key = headers.get("x-goog-api-key")
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def refuse_credential(presented: str | None) -> RefusedError:
    """400 for a wrong key, 403 for none, as the Gemini API has it."""
    if presented is None:
        return refuse(
            403,
            "Method doesn't allow unauthenticated callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
        )
    message = "API key not valid. Please pass a valid API key."
    info = {
        "@type": f"{_TYPE}ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }
    return refuse(400, message, details=[info])


def authenticate(arrival: Arrival, api_key: str | None) -> None:
    """Raise `RefusedError` for a caller without a key, or on Vertex without a bearer token."""
    presented = credential(arrival.headers)
    is_bearer = arrival.headers.get("authorization", "").lower().startswith("bearer ")
    if _VERTEX in arrival.target:
        if not is_bearer or (api_key is not None and presented != api_key):
            raise refuse(401, _STATUSES[401][1])
        return
    if presented is None:
        presented = parse_qs(arrival.target.partition("?")[2]).get("key", [None])[0]
    if presented is None or (api_key is not None and presented != api_key):
        raise refuse_credential(presented)


def unreadable(reason: str) -> RefusedError:
    """400 for a body that is not a JSON object."""
    return invalid(f"Invalid JSON payload received. {reason}")


def refuse_route(_method: str, path: str) -> RefusedError:
    """404 for a path that is not part of the API."""
    return refuse(404, f"The requested URL {path.partition('?')[0]} was not found on this server.")


def unknown_model(asked: str) -> RefusedError:
    """404 for a model that is not served."""
    return refuse(
        404,
        f"models/{asked} is not found for API version v1beta, or is not supported for "
        "generateContent. Call ListModels to see the list of available models and their supported "
        "methods.",
    )


def context_exceeded(limit: int, resulted: int) -> RefusedError:
    """400 for a prompt longer than the context window, both in tokens."""
    return invalid(
        f"The input token count ({resulted}) exceeds the maximum number of tokens allowed "
        f"({limit})."
    )
