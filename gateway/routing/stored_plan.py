"""The compact plan of a record, as far as deciding its request again reads it."""

from decimal import Decimal
from typing import Any

import msgspec

from gateway.routing.plan import BalanceWeights, Strategy
from gateway.routing.replaying_facts import MEMBER


class PartitionThen(msgspec.Struct, frozen=True, kw_only=True):
    """How the endpoints of a model were put in order."""

    strategy: Strategy
    balance: BalanceWeights | None = None


class CandidateThen(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that could have served, and what was known of it."""

    endpoint: str
    model: str
    outage: bool = False
    probation: bool = False
    cooling: bool = False
    factor: float = 1.0
    latency_ms: float | None = None
    tokens_per_s: float | None = None
    uptime: float | None = None
    tokens_out: int | None = None
    tokens_cached: int = 0
    sticky: bool = False
    cost_usd: Decimal | None = None


class ExclusionThen(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that could not."""

    endpoint: str
    reason: str


class StoredPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a compact plan."""

    seed: int
    api: str = "chat"
    tokens_in: int = 0
    tokens_out: int | None = None
    drawn_endpoint: str | None = None
    partitions: tuple[PartitionThen, ...] = ()
    candidates: tuple[CandidateThen, ...] = ()
    dropped: tuple[CandidateThen, ...] = ()
    excluded: tuple[ExclusionThen, ...] = ()
    excluded_by: dict[str, int] = {}
    pool: tuple[str, ...] = ()
    pool_size: int | None = None
    provider_configs: tuple[str, ...] = ()
    asked: dict[str, Any] = msgspec.field(default_factory=dict[str, Any], name=MEMBER)

    @property
    def dearest(self) -> str | None:
        """The endpoint that was expected to cost the most; None when no cost was known."""
        known = [one for one in self.candidates if one.cost_usd is not None]
        return max(known, key=lambda one: one.cost_usd or Decimal(0)).endpoint if known else None


_PLANS = msgspec.json.Decoder(StoredPlan)


def read_plan(plan: msgspec.Raw) -> StoredPlan | None:
    """A compact plan; None when it is of a form that is not known."""
    try:
        return _PLANS.decode(plan)
    except msgspec.DecodeError:
        return None
