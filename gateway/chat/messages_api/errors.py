"""Errors in the words of the Messages API (platform.claude.com/docs/en/api/errors)."""

_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OF_KIND = {
    "invalid_request_error": "invalid_request_error",
    "authentication_error": "authentication_error",
    "insufficient_quota": "billing_error",
    "permission_error": "permission_error",
    "rate_limit_error": "rate_limit_error",
    "timeout_error": "timeout_error",
    "service_unavailable": "overloaded_error",
}
_FIRST_SERVER_ERROR = 500


def error_type_of_status(status: int) -> str:
    """The ``error.type`` of an HTTP status."""
    usual = "api_error" if status >= _FIRST_SERVER_ERROR else "invalid_request_error"
    return _OF_STATUS.get(status, usual)


def error_type(kind: str) -> str:
    """The ``error.type`` for one of the OpenAI dialect, inside a stream."""
    return _OF_KIND.get(kind, "api_error")
