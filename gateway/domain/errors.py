"""The one error tree. Raise the most specific class, let it travel, render it once at the edge.

* GatewayError                  anything that is answered to a client as an error
  * InvalidRequestError         400 (FastAPI dialect: 422); ``param`` names the field
  * AuthenticationError         401
  * BudgetExceededError         402
  * PermissionDeniedError       403
  * ModelNotFoundError          404: nobody knows the model; suggestions, never a guess
  * NoEndpointError             404 or 503: endpoints exist, none fits; says what excluded them
  * PayloadTooLargeError        413
  * UnsupportedMediaTypeError   415
  * RateLimitedError            429, with ``retry_after_s``
  * UpstreamError               what the last endpoint answered, or 502 when all failed
  * UpstreamTimeoutError        504
  * OverloadedError             503: our own admission, drain, or a spool that cannot be written
  * InternalError               500: a bug of ours
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class GatewayError(Exception):
    """An error with its HTTP status and what the caller can do about it."""

    status: int = 500
    kind: str = "api_error"
    """The OpenAI dialect's ``error.type``."""
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with it, beside what follows from its fields."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        kind: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Make the error.

        Args:
            message: names the thing and the remedy; never contains a secret.
            param: the request field at fault, dotted (``messages.0.role``).
            code: a stable machine-readable word; None keeps the class's own.
            status: None keeps the class's own.
            kind: None keeps the class's own.
            retry_after_s: seconds until trying again can help; None sends no ``Retry-After``.
            should_retry: what ``x-should-retry`` tells client libraries; None leaves it to them.
            metadata: extra facts that are rendered beside the message.
        """
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        if kind is not None:
            self.kind = kind
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        self.metadata: dict[str, Any] = metadata or {}


class InvalidRequestError(GatewayError):
    """The request itself is wrong."""

    status = 400
    kind = "invalid_request_error"
    fault: Mapping[str, Any] = MappingProxyType({})
    """What the FastAPI dialect tells beside the message: ``input`` and ``ctx``."""


class AuthenticationError(GatewayError):
    """No key, a malformed one, or one that is not valid (any more)."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class BudgetExceededError(GatewayError):
    """The caller's budget does not allow the request."""

    status = 402
    kind = "insufficient_quota"
    code = "budget_exceeded"


class PermissionDeniedError(GatewayError):
    """The key is valid and may not do this."""

    status = 403
    kind = "permission_error"
    code = "permission_denied"


class ModelNotFoundError(GatewayError):
    """Nobody serves a model of that name here."""

    status = 404
    kind = "invalid_request_error"
    code = "model_not_found"


class NoEndpointError(GatewayError):
    """The model is known, and every endpoint of it is excluded."""

    status = 404
    kind = "invalid_request_error"
    code = "no_endpoints"


class PayloadTooLargeError(GatewayError):
    """The body is larger than the limit."""

    status = 413
    kind = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMediaTypeError(GatewayError):
    """The body is not declared as JSON."""

    status = 415
    kind = "invalid_request_error"
    code = "unsupported_media_type"


class RateLimitedError(GatewayError):
    """Too many requests, by our limits or by every provider's."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"


class UpstreamError(GatewayError):
    """No endpoint answered as asked; the last one's failure, made presentable."""

    status = 502
    kind = "api_error"
    code = "upstream_error"


class UpstreamTimeoutError(GatewayError):
    """No endpoint answered in time."""

    status = 504
    kind = "timeout_error"
    code = "timeout"


class OverloadedError(GatewayError):
    """This gateway cannot take the request now."""

    status = 503
    kind = "service_unavailable"
    code = "overloaded"


class InternalError(GatewayError):
    """A bug of ours."""

    status = 500
    kind = "api_error"
    code = "internal_error"
