"""Why a request's task was cancelled, told apart by whoever cancels it."""

from uuid import UUID

from gateway.domain.errors import AuthenticationError, GatewayError
from gateway.domain.outcomes import Outcome


class Interruption:
    """Belongs to one request.

    Its task is cancelled because the caller hung up (the usual case), because its key was revoked
    at once, or because the gateway is going down; which of them is set before the cancellation.
    """

    __slots__ = ("is_revoked", "key_id", "outcome")

    def __init__(self) -> None:
        self.outcome = Outcome.CLIENT_CANCELLED
        self.key_id: UUID | None = None
        """Whose request it is, once that is known."""
        self.is_revoked = False

    @property
    def is_shutdown(self) -> bool:
        return self.outcome is Outcome.GATEWAY_SHUTDOWN

    @property
    def is_told(self) -> bool:
        """The caller is still there, and told why its request ends."""
        return self.is_revoked or self.is_shutdown

    def farewell(self) -> GatewayError:
        """What such a caller is told."""
        if self.is_revoked:
            return AuthenticationError(
                "the key of this request was revoked", code="key_revoked", should_retry=False
            )
        return GatewayError(
            "the gateway is shutting down",
            status=503,
            kind="service_unavailable",
            code="server_shutdown",
            retry_after_s=1,
            should_retry=True,
        )
