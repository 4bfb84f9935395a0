"""The plan: candidates in the order to try, and what was excluded for which reason."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec

from gateway.chat.preferences import SortKey
from gateway.domain.caller import Caller
from pricing.catalogue import Catalogue, Endpoint
from pricing.price import Price

DecisionMode = Literal[
    "pinned",
    "deterministic",
    "weighted",
    "explore",
    "sticky",
    "rule_split",
    "fallback_only",
    "shadow",
]
"""Only what was drawn is evidence: ``weighted``, ``explore`` and ``rule_split``. ``fallback_only``
is a last resort, chosen since all else is resting."""
Strategy = Literal["pinned", "order", "sort", "price-weighted", "balanced", "auto"]


class ExclusionReason(StrEnum):
    """Why an endpoint may not serve this request."""

    KEY_MODEL = "key_model"
    KEY_PROVIDER = "key_provider"
    ONLY = "only"
    IGNORE = "ignore"
    NOT_PINNED = "not_pinned"
    NOT_FREE = "not_free"
    """The model was asked for as ``:free``."""
    NO_FALLBACKS = "no_fallbacks"
    QUANTIZATION = "quantization"
    DATA_COLLECTION = "data_collection"
    ZDR = "zdr"
    DISTILLABLE = "distillable"
    MAX_PRICE = "max_price"
    UNPRICED = "unpriced"
    CONTEXT = "context"
    MAX_OUTPUT = "max_output"
    MODALITY = "modality"
    CAPABILITY = "capability"
    REQUIRE_PARAMETERS = "require_parameters"
    SERVICE_TIER = "service_tier"
    """Not known to offer the tier that was asked for, while another endpoint is."""
    MIN_THROUGHPUT = "min_throughput"
    MAX_LATENCY = "max_latency"
    MAX_COST = "max_cost"
    """The request may cost more there than the caller allows for one attempt."""
    BUDGET = "budget"
    """The request is expected to cost more there than the budget still holds."""
    AUTO_MODELS = "auto_models"
    """Left out by the caller's patterns for ``auto``."""
    REASONS = "reasons"
    """Not known to be without reasoning, which the caller asked for."""
    MODE = "mode"
    RETIRED = "retired"
    DISABLED = "disabled"
    """The operator has switched the endpoint off."""
    CREDENTIAL = "credential"
    """The provider refused the credential and it has not changed since."""
    COOLING_DOWN = "cooling_down"
    RATE_LIMITED = "rate_limited"
    """Resting since the provider answered 429."""
    BREAKER_OPEN = "breaker_open"
    PASSED_OVER = "passed_over"
    """Could serve, and stands behind enough others: the lists of large pools are cut."""


class Percentiles(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a rolling measure is spread, the best half first: p90 holds for 90 % of the answers.

    Of latencies 90 % are at most p90, of throughputs 90 % are at least p90: p99 is the worst of
    both.
    """

    p50: float
    p75: float
    p90: float
    p99: float


class EndpointHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What this process has seen of an endpoint lately; without any it counts as healthy."""

    has_recent_outage: bool = False
    """A failure within the last 30 s and no success since."""
    cooling_until_ms: float | None = None
    """On the monotonic clock of ``PlanInputs.now_ms``; None when it is not resting."""
    is_rate_limited: bool = False
    """The rest was asked for by a 429."""
    is_credential_refused: bool = False
    """Every credential of the provider is out."""
    open_until_ms: float | None = None
    """A breaker (of the endpoint, its credential or its target) is open until then; monotonic."""
    is_half_open: bool = False
    """On probation while its one probe is under way: behind the healthy ones. When a probe is due
    and nobody has it, this is False, so that the endpoint takes its place and gets one."""
    weight_factor: float = 1.0
    """Multiplies the weight in the draw: 0.1 to 1 in slow start, 0.25 when degraded."""
    latency_ms: Percentiles | None = None
    """To the first token, over the last 5 minutes."""
    throughput_tokens_per_s: Percentiles | None = None
    """Over the last 5 minutes."""
    uptime: float | None = None
    """0 to 1, over 30 minutes."""


class Sticky(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which endpoint is thought to hold the prompt of this conversation in its cache."""

    endpoint: str
    cached_share: float
    """Of the prompt, 0 to 1, expected to be read from the cache."""


class BalanceWeights(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How much each part counts in the ``balanced`` strategy; at least one is above zero."""

    price: float = 0.6
    uptime: float = 0.5
    throughput: float = 0.05
    latency: float = 0.025


class PlanInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision rests on besides the request, so that last week's can be replayed."""

    catalogue: Catalogue
    """Only enabled providers, the operator's endpoints included."""
    caller: Caller
    at: datetime
    """Aware UTC; picks the prices."""
    now_ms: float
    """Monotonic, for cool-downs."""
    health: Mapping[str, EndpointHealth]
    """By endpoint id."""
    aliases: Mapping[str, str]
    """Operator's names for models; looked up first, exactly."""
    slash_pins_provider: bool = True
    """The installation's setting; the caller's own wins."""
    expected_output_tokens: int = 500
    """What an answer is expected to hold when the request sets no cap."""
    configured_models: frozenset[str] = frozenset()
    """Models named by the operator's own endpoints; looked up after the aliases, before a slash is
    read as a pin."""
    fetches_media: bool = False
    """The gateway itself fetches images and files for endpoints that take data only."""
    seed: int
    """Fixes every draw of this decision."""
    learned_output_tokens: Mapping[str, float] = {}
    """By canonical model: how long this caller's answers are on the average, in tokens."""
    sticky: Sticky | None = None
    auto_pool: tuple[str, ...] = ()
    """The operator's models that ``auto`` chooses between; empty stands for the curated ones."""
    budget_headroom_usd: Decimal | None = None
    """What may still be spent; None when no budget limits the caller."""
    strategy: Literal["price-weighted", "balanced"] = "price-weighted"
    """How candidates are ordered when the request does not say."""
    balance: BalanceWeights = BalanceWeights()
    rule_version: str | None = None
    """Of the rule set that the request was read under; None when there is none."""
    hash_key: bytes = b""
    """Secret of the installation, at most 32 bytes: hashes of what callers sent are keyed by it."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An endpoint that may serve, with what the decision knew of it."""

    endpoint: Endpoint
    price: Price | None
    expected_cost_usd: Decimal | None
    """For this request's tokens; None when the endpoint has no price."""
    weight: float | None = None
    """In the weighted draw; None when it took no part."""
    probability: float | None = None
    """With which it was to be drawn first of all, so that these add up to 1 over the plan and what
    was dropped; 1.0 for the first of a deterministic order; None when it could not be first."""
    health: EndpointHealth = EndpointHealth()
    behind: int = 0
    """What puts it behind others of its kind, as a sum of `gateway.routing.demotions`."""
    output_tokens: int | None = None
    """Expected of this model; None is what the plan expects of all."""
    cached_tokens: int = 0
    """Of the prompt, expected to be read from the provider's cache."""
    is_sticky: bool = False
    """Holds the conversation's cache, and reading it costs less than reading the prompt anew."""
    score: float | None = None
    """In the ``balanced`` strategy, the lowest first."""
    partition: int = 0
    """Which of the plan's partitions it is in."""
    rank: int | None = None
    """Place of the caller's ``order`` that names it, from 0; None when none does."""
    unknown_needs: int = 0
    """How many of the request's needs the endpoint is not known to meet."""
    cooling_until_ms: float | None = None
    """Until when it rests or its breaker is open. Set on a last resort only: every endpoint is
    resting, and this one rests the shortest."""

    @property
    def latency_p50_ms(self) -> float | None:
        """The median time to the first token; None when nothing was measured."""
        latency_ms = self.health.latency_ms
        return None if latency_ms is None else latency_ms.p50

    @property
    def throughput_p50_tokens_per_s(self) -> float | None:
        """The median throughput; None when nothing was measured."""
        throughput = self.health.throughput_tokens_per_s
        return None if throughput is None else throughput.p50


class Exclusion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An endpoint that may not serve, and why."""

    endpoint: str
    reason: ExclusionReason
    detail: str | None = None
    retry_after_s: float | None = None
    """When it may serve again; None when time alone changes nothing."""


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One of the request's models (or all together), and how its endpoints are ordered."""

    model: str | None
    """Canonical, or ``auto``; None when the endpoints of several models are ordered together."""
    strategy: Strategy
    sort: SortKey | None = None
    """What is sorted by; under ``order`` that goes for the endpoints it does not name."""
    allow_fallbacks: bool = True
    balance: BalanceWeights | None = None
    """Of the ``balanced`` strategy."""

    @property
    def label(self) -> str:
        """``price-weighted``, ``order``, ``sort:price`` … as ``metadata`` and records have it."""
        return f"sort:{self.sort}" if self.strategy == "sort" else self.strategy


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The decision for one request."""

    requested_model: str
    """As typed, after the pinned provider was taken off."""
    requested_provider: str | None
    models: tuple[str, ...]
    """Canonical models in the order they may be used."""
    candidates: tuple[Candidate, ...]
    exclusions: tuple[Exclusion, ...]
    mode: DecisionMode
    strategy: str
    """``price-weighted``, ``order``, ``sort:price`` …, for ``metadata``."""
    seed: int
    draw: float | None = None
    """The number in [0, 1) behind the first draw; None when nothing was drawn."""
    partitions: tuple[Partition, ...] = ()
    """One per model of the request, in its order."""
    dropped: tuple[Candidate, ...] = ()
    """Took part in the order, but may not serve since fallbacks are off; excluded too."""
    prompt_tokens: int = 0
    """Estimated, the whole prompt: what the prices were resolved for."""
    expected_output_tokens: int = 0
    """What the expected costs were computed for, all choices together."""
    pool: tuple[str, ...] = ()
    """Models that ``auto`` chose between; empty when it had no part."""
    counted: Mapping[ExclusionReason, int] = {}
    """Exclusions beside those in ``exclusions``: large pools are counted, not listed."""
    rule_version: str | None = None

    @property
    def excluded_by(self) -> dict[str, int]:
        """How many endpoints each reason excluded, the commonest reason first."""
        return count_reasons(self.exclusions, self.counted)


def count_reasons(
    exclusions: Iterable[Exclusion], counted: Mapping[ExclusionReason, int]
) -> dict[str, int]:
    """How many endpoints each reason excluded, the commonest reason first."""
    counts = Counter([exclusion.reason for exclusion in exclusions])
    counts.update(counted)
    return {reason.value: count for reason, count in counts.most_common()}
