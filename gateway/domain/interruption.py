"""Why a request's task was cancelled, told apart by whoever cancels it."""

from gateway.domain.outcomes import Outcome


class Interruption:
    """Belongs to one request.

    Its task is cancelled either because the caller hung up (the usual case) or because the gateway
    is going down; the outcome is set before the cancellation.
    """

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome = Outcome.CLIENT_CANCELLED

    @property
    def is_shutdown(self) -> bool:
        return self.outcome is Outcome.GATEWAY_SHUTDOWN
