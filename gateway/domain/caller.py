"""Who is asking: the key behind a request, with its labels and what it may use."""

from datetime import datetime
from uuid import UUID

import msgspec


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated key. There is no default caller: authentication yields one or raises."""

    key_id: UUID
    kid: str
    """The public part of the key, safe to log."""
    name: str
    labels: dict[str, str] = {}
    """Team, project, environment and whatever else the operator attached."""
    allowed_models: tuple[str, ...] = ()
    """Canonical models or patterns with ``*``; empty means every model."""
    allowed_providers: tuple[str, ...] = ()
    """Provider ids; empty means every enabled provider."""
    default_model: str | None = None
    slash_pins_provider: bool | None = None
    """None follows the installation's setting."""
    has_hard_budget: bool = False
    """Endpoints without a price are refused to such a caller."""
    provider_configs_origins: tuple[str, ...] = ()
    """Where requests may be sent with credentials of their own (``https://api.example.com``);
    empty refuses such requests."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    """How many requests may be open at once; None of each is no limit."""
    expires_at: datetime | None = None
    """The first instant at which the key no longer works; None means never."""
