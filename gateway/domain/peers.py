"""Who is at the other end of the connection whose request is being served."""

from contextvars import ContextVar

peer: ContextVar[str] = ContextVar("peer", default="")
"""The address, without its port; empty outside of requests."""
