"""Anthropic's errors in Anthropic's words: bodies, types, and what each scripted status says."""

from typing import NoReturn

import msgspec

from gateway.simulator.script import Behaviour
from gateway.simulator.wire import Frame, RefusedError

# platform.claude.com/docs/en/api/errors: (type, message) by status.
_STATUSES: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request was scripted to be invalid."),
    402: ("billing_error", "There's an issue with your billing or payment information."),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    404: ("not_found_error", "model: claude-none"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def error_body(refusal: RefusedError) -> bytes:
    """The error object as JSON, also what an error inside a stream carries."""
    return msgspec.json.encode(
        {
            "type": "error",
            "error": {"type": refusal.kind, "message": refusal.message},
            "request_id": "req_011simulated",
        }
    )


def error_frame(refusal: RefusedError) -> Frame:
    """An error as an event of a stream."""
    return Frame(kind="content", data=error_body(refusal), event="error", is_error=True)


def error_headers(_: RefusedError) -> dict[str, str]:
    """What goes with every error."""
    return {"request-id": "req_011simulated"}


def scripted(behaviour: Behaviour, credential: str | None) -> RefusedError:
    """The refusal that a scripted ending stands for; inside a stream it is an overload."""
    refusal = _scripted(behaviour, credential)
    if behaviour.message is not None:
        refusal.message = behaviour.message
    return refusal


def _scripted(behaviour: Behaviour, credential: str | None) -> RefusedError:
    ending = behaviour.ending
    if ending == "context_length":
        return context_exceeded(210_000, 200_000)
    if ending == "insufficient_quota":
        message = (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
            "Billing to upgrade or purchase credits."
        )
        return RefusedError(400, message)
    if ending == "content_policy":
        return RefusedError(400, "Output blocked by content filtering policy")
    if ending == "error200":
        return RefusedError(529, "Overloaded", kind="overloaded_error")
    status = behaviour.status or 500
    if status == 401:  # noqa: PLR2004 -- HTTP's own number
        return refuse_credential(credential)
    is_ours = status >= 500  # noqa: PLR2004 -- HTTP's own number
    kind, message = _STATUSES.get(
        status, ("api_error" if is_ours else "invalid_request_error", f"Error {status}.")
    )
    return RefusedError(status, message, kind=kind)


def credential(headers: dict[str, str]) -> str | None:
    """The key, None when there is none."""
    return headers.get("x-api-key", "").strip() or None


def refuse_credential(presented: str | None) -> RefusedError:
    """401 as Anthropic gives it."""
    message = "invalid x-api-key" if presented is not None else "x-api-key header is required"
    return RefusedError(401, message, kind="authentication_error")


def refuse_route(_: str, path: str) -> RefusedError:
    """404 for a path that is not part of the API."""
    return RefusedError(404, f"Not Found: {path}", kind="not_found_error")


def unreadable(reason: str) -> RefusedError:
    """400 for a body that is not a JSON object."""
    return RefusedError(400, f"The request body is not valid JSON: {reason}")


def unknown_model(asked: str) -> RefusedError:
    """404 for a model this provider does not serve."""
    return RefusedError(404, f"model: {asked}", kind="not_found_error")


def context_exceeded(tokens: int, limit: int) -> RefusedError:
    """400 for a prompt longer than the context window."""
    return RefusedError(400, f"prompt is too long: {tokens} tokens > {limit} maximum")


def refuse(at: str, why: str) -> NoReturn:
    """400 that names the place, as Anthropic's validation does."""
    raise RefusedError(400, f"{at}: {why}" if at else why)
