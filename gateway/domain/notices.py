"""What operators are told of, by name."""

from typing import Any, Literal, TypeAlias, get_args

import msgspec

NoticeKind: TypeAlias = Literal[
    "budget_threshold", "provider_down", "unpriced_traffic", "spool_lag", "test"
]
KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook."""

    id: str
    """The same in every repetition, by which a receiver knows what it has seen."""
    type: str
    at: str
    """ISO 8601, in UTC."""
    subject: str
    """What it is about: a budget, a level of health, an endpoint, a node."""
    details: dict[str, Any] = {}
