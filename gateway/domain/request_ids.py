"""The id under which a caller knows the request that is being served, for lines of the log."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""``X-Request-Id`` as it goes back to the caller; empty outside of requests."""
