"""Amazon Bedrock's errors in its own words: exception names, statuses, and how each one is told.

From the service's published model (errors of Converse and ConverseStream) and messages that callers
have quoted. An error answer has `{"message": …}` and its name in `x-amzn-errortype`; inside a
stream it is a message of its own whose `:exception-type` is the name with a small first letter.
"""

import msgspec

from gateway.simulator.script import Behaviour
from gateway.simulator.wire import Frame, RefusedError

_NAMED: dict[int, tuple[str, str]] = {
    400: ("ValidationException", "The request was scripted to be invalid."),
    401: ("UnrecognizedClientException", "The security token included in the request is invalid."),
    402: ("ServiceQuotaExceededException", "Your account has no credit left for this service."),
    403: (
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
    ),
    404: ("ResourceNotFoundException", "Could not resolve the foundation model from the model id."),
    408: ("ModelTimeoutException", "The request took too long to process."),
    413: ("ValidationException", "The request body is too large."),
    424: ("ModelErrorException", "The system encountered an unexpected error during processing."),
    429: ("ThrottlingException", "Too many requests, please wait before trying again."),
    500: (
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    503: (
        "ServiceUnavailableException",
        "Bedrock is unable to process your request.",
    ),
}
_STATUSES: dict[str, int] = {
    name: status for status, (name, _) in reversed(list(_NAMED.items()))
} | {
    "ModelStreamErrorException": 424,
    "ModelNotReadyException": 429,
    "ServiceQuotaExceededException": 400,
    "ExpiredTokenException": 403,
    "UnrecognizedClientException": 403,
}
_FIRST_SERVER_STATUS = 500


def refuse(name: str, message: str) -> RefusedError:
    """An exception of the service by its name, with the status that belongs to it."""
    return RefusedError(_STATUSES.get(name, 400), message, kind=name)


def invalid(message: str) -> RefusedError:
    """400 for a request that the service cannot accept."""
    return refuse("ValidationException", message)


def name_of(refusal: RefusedError) -> str:
    """The exception's name, also where the refusal did not come from this protocol."""
    if refusal.kind.endswith("Exception"):
        return refusal.kind
    is_server = refusal.status >= _FIRST_SERVER_STATUS
    default = "InternalServerException" if is_server else "ValidationException"
    return _NAMED.get(refusal.status, (default, ""))[0]


def error_body(refusal: RefusedError) -> bytes:
    """The body of an error answer."""
    return msgspec.json.encode({"message": refusal.message})


def error_headers(refusal: RefusedError) -> dict[str, str]:
    """The exception's name, with the namespace that the service appends."""
    namespace = "http://internal.amazon.com/coral/com.amazon.bedrock/"
    return {"x-amzn-errortype": f"{name_of(refusal)}:{namespace}"}


def error_frame(refusal: RefusedError) -> Frame:
    """The same inside a stream."""
    name = name_of(refusal)
    return Frame(
        kind="content",
        data=error_body(refusal),
        event=name[0].lower() + name[1:],
        is_error=True,
    )


def scripted(behaviour: Behaviour, credential: str | None) -> RefusedError:  # noqa: ARG001 -- others name the key
    """The refusal that a scripted ending stands for; `finish` names the exception of `error200`."""
    refusal = _scripted(behaviour)
    if behaviour.message is not None:
        refusal.message = behaviour.message
    return refusal


def _scripted(behaviour: Behaviour) -> RefusedError:
    ending = behaviour.ending
    if ending == "context_length":
        return context_exceeded()
    if ending == "insufficient_quota":
        return refuse(
            "ServiceQuotaExceededException",
            "Your request exceeds the service quota for your account.",
        )
    if ending == "content_policy":
        return invalid(
            "The model returned the following errors: Output blocked by content filtering policy"
        )
    if ending == "error200" and behaviour.finish:
        name = behaviour.finish[0].upper() + behaviour.finish[1:]
        message = next((text for known, text in _NAMED.values() if known == name), "It failed.")
        return refuse(name, message)
    status = behaviour.status or _FIRST_SERVER_STATUS
    is_server = status >= _FIRST_SERVER_STATUS
    default = ("InternalServerException" if is_server else "ValidationException", "It failed.")
    name, message = _NAMED.get(status, default)
    return RefusedError(status, message, kind=name)


def refuse_route(method: str, path: str) -> RefusedError:  # noqa: ARG001 -- it does not say
    """404 for a path that is not part of the API."""
    return RefusedError(404, "Unable to find the operation.", kind="UnknownOperationException")


def unreadable(reason: str) -> RefusedError:
    """400 for a body that is not a JSON object."""
    return RefusedError(400, reason, kind="SerializationException")


def unknown_model() -> RefusedError:
    """400 for a model that is not served."""
    return invalid("The provided model identifier is invalid.")


def context_exceeded() -> RefusedError:
    """400 for a prompt longer than the context window."""
    return invalid("Input is too long for requested model.")
