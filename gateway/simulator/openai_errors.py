"""OpenAI's errors in OpenAI's words: bodies, codes, and what each scripted status says."""

import msgspec

from gateway.simulator.script import Behaviour
from gateway.simulator.wire import Call, RefusedError

# (type, code, message) by status; other statuses are `server_error` or a plain invalid request.
_STATUSES: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request was scripted to be invalid."),
    402: ("insufficient_quota", "insufficient_quota", "Insufficient balance."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    408: ("server_error", "request_timeout", "Request timed out."),
    413: ("invalid_request_error", None, "Maximum content size limit exceeded."),
    422: ("invalid_request_error", None, "The request could not be processed."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached on requests per min (RPM): Limit 500, Used 500, Requested 1.",
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    502: ("server_error", None, "Bad gateway."),
    503: (
        "server_error",
        None,
        "The engine is currently overloaded, please try again later",
    ),
    504: ("server_error", None, "Gateway time-out."),
    529: ("overloaded_error", None, "Overloaded"),
}


def error_body(refusal: RefusedError) -> bytes:
    """The error object as JSON, also what an error inside a stream carries."""
    return msgspec.json.encode(
        {
            "error": {
                "message": refusal.message,
                "type": refusal.kind,
                "param": refusal.param,
                "code": refusal.code,
            }
        }
    )


def scripted(behaviour: Behaviour, credential: str | None) -> RefusedError:
    """The refusal that a scripted ending stands for; an `error200` is a 500 in its text."""
    refusal = _scripted(behaviour, credential)
    if behaviour.message is not None:
        refusal.message = behaviour.message
    return refusal


def _scripted(behaviour: Behaviour, credential: str | None) -> RefusedError:
    ending = behaviour.ending
    if ending == "context_length":
        return context_exceeded(128_000, 131_072)
    if ending == "insufficient_quota":
        message = "You exceeded your current quota, please check your plan and billing details."
        return RefusedError(429, message, kind="insufficient_quota", code="insufficient_quota")
    if ending == "content_policy":
        message = "Your request was rejected as a result of our safety system."
        return RefusedError(400, message, code="content_policy_violation")
    status = behaviour.status or 500
    if status == 401:  # noqa: PLR2004 -- HTTP's own number
        return refuse_credential(credential)
    kind, code, message = _STATUSES.get(
        status,
        ("server_error" if status >= 500 else "invalid_request_error", None, f"Error {status}."),  # noqa: PLR2004 -- HTTP's own number
    )
    return RefusedError(status, message, kind=kind, code=code)


def credential(headers: dict[str, str]) -> str | None:
    """The bearer token, None when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def refuse_credential(presented: str | None) -> RefusedError:
    """401 as OpenAI gives it, with a part of the key that was presented."""
    if presented is None:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        return RefusedError(401, message)
    masked = f"{presented[:8]}{'*' * max(len(presented) - 12, 3)}{presented[-4:]}"
    message = (
        f"Incorrect API key provided: {masked}. You can find your API key at "
        "https://platform.openai.com/account/api-keys."
    )
    return RefusedError(401, message, code="invalid_api_key")


def unreadable(reason: str) -> RefusedError:
    """400 for a body that is not a JSON object."""
    message = (
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
        f"using your HTTP library correctly. {reason})"
    )
    return RefusedError(400, message)


def refuse_route(method: str, path: str) -> RefusedError:
    """404 for a path that is not part of the API."""
    return RefusedError(404, f"Invalid URL ({method} {path})")


def unknown_model(asked: str) -> RefusedError:
    """404 for a model this provider does not serve."""
    message = f"The model `{asked}` does not exist or you do not have access to it."
    return RefusedError(404, message, code="model_not_found")


def context_exceeded(limit: int, resulted: int) -> RefusedError:
    """400 for a prompt longer than the context window, both in tokens."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted "
        f"in {resulted} tokens. Please reduce the length of the messages."
    )
    return RefusedError(400, message, code="context_length_exceeded", param="messages")


def check_fits(call: Call, prompt_tokens: int) -> None:
    """Raise `RefusedError` when the prompt or the asked output exceeds what the offer allows."""
    if call.offer is None:
        return
    if prompt_tokens > call.offer.context_tokens:
        raise context_exceeded(call.offer.context_tokens, prompt_tokens)
    for name in ("max_tokens", "max_completion_tokens"):
        asked = call.body.get(name)
        most = call.offer.max_output_tokens
        if asked is not None and asked > most:
            message = (
                f"{name} is too large: {asked}. This model supports at most {most} completion "
                f"tokens, whereas you provided {asked}."
            )
            raise RefusedError(400, message, code="invalid_value", param=name)
