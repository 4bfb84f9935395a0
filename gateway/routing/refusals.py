"""What a caller is told when no endpoint may serve: what ruled them out, and what to change."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gateway.domain.errors import (
    BudgetExceededError,
    GatewayError,
    NoEndpointError,
    PermissionDeniedError,
)
from gateway.routing.names import Target
from gateway.routing.plan import Exclusion, ExclusionReason

_NOTHING: Mapping[ExclusionReason, int] = MappingProxyType({})

REMEDIES: Mapping[ExclusionReason, str] = {
    ExclusionReason.KEY_MODEL: "use a model this key may use",
    ExclusionReason.KEY_PROVIDER: "use a provider this key may use",
    ExclusionReason.ONLY: "name a provider of this model in `provider.only`",
    ExclusionReason.IGNORE: "shorten `provider.ignore`",
    ExclusionReason.NOT_PINNED: "name the model without a provider",
    ExclusionReason.NOT_FREE: "drop `:free` or `free_models_only`",
    ExclusionReason.NO_FALLBACKS: "allow fallbacks or name a provider of this model in "
    "`provider.order`",
    ExclusionReason.QUANTIZATION: "widen `provider.quantizations`",
    ExclusionReason.DATA_COLLECTION: "allow `provider.data_collection`",
    ExclusionReason.ZDR: "drop `provider.zdr`",
    ExclusionReason.DISTILLABLE: "drop `provider.enforce_distillable_text`",
    ExclusionReason.MAX_PRICE: "raise `provider.max_price`",
    ExclusionReason.UNPRICED: "give the endpoint a price; this key has a hard budget",
    ExclusionReason.CONTEXT: "shorten the prompt or lower `max_tokens`",
    ExclusionReason.MAX_OUTPUT: "lower `max_tokens`",
    ExclusionReason.MODALITY: "leave out what the model cannot read or write",
    ExclusionReason.CAPABILITY: "leave out what the model cannot do",
    ExclusionReason.REQUIRE_PARAMETERS: "drop `provider.require_parameters` or the parameter",
    ExclusionReason.SERVICE_TIER: "drop `service_tier`",
    ExclusionReason.MIN_THROUGHPUT: "lower `provider.min_throughput`, or send "
    "`provider.preferred_min_throughput`",
    ExclusionReason.MAX_LATENCY: "raise `provider.max_latency`, or send "
    "`provider.preferred_max_latency`",
    ExclusionReason.MAX_COST: "raise `max_cost_usd`, lower `max_tokens` or shorten the prompt",
    ExclusionReason.BUDGET: "raise the budget, or send a request that costs less",
    ExclusionReason.AUTO_MODELS: "widen the patterns of the plugin `auto-router`",
    ExclusionReason.REASONS: "drop `no_reasoning`",
    ExclusionReason.PASSED_OVER: "try again later",
    ExclusionReason.MODE: "use a chat model",
    ExclusionReason.RETIRED: "use a newer model",
    ExclusionReason.DISABLED: "have the operator switch the endpoint on again",
    ExclusionReason.CREDENTIAL: "have the operator renew the provider's credential",
    ExclusionReason.COOLING_DOWN: "try again later",
    ExclusionReason.RATE_LIMITED: "try again later",
    ExclusionReason.BREAKER_OPEN: "try again later",
}
"""What would have to change, for each reason."""

TEMPORARY = frozenset(
    {
        ExclusionReason.CREDENTIAL,
        ExclusionReason.COOLING_DOWN,
        ExclusionReason.RATE_LIMITED,
        ExclusionReason.BREAKER_OPEN,
    }
)
_OF_THE_KEY = frozenset({ExclusionReason.KEY_MODEL, ExclusionReason.KEY_PROVIDER})
_LISTED = 20
_UNAVAILABLE = 503


def refusal(
    targets: Sequence[Target],
    exclusions: Sequence[Exclusion],
    counted: Mapping[ExclusionReason, int] = _NOTHING,
) -> GatewayError:
    """The error for a request that no endpoint may serve.

    403 when the key alone rules out every endpoint, 402 when only the budget keeps the last ones
    out, 503 when one would serve once it has recovered, else 404. ``metadata.excluded_by`` counts
    reasons, the commonest first; ``metadata.excluded`` lists the first 20 endpoints,
    ``metadata.constraints`` what would have to change.
    """
    counts = Counter([exclusion.reason for exclusion in exclusions])
    counts.update(counted)
    common = counts.most_common()
    models = ", ".join(f"`{model}`" for model in dict.fromkeys(t.model for t in targets))
    found = "; ".join(_described(reason, count, exclusions) for reason, count in common)
    remedies = ", or ".join(REMEDIES[reason] for reason, _ in common)
    message = (
        f"No endpoint may serve {models} for this request: {found}. To change that: {remedies}"
    )
    waits_s = [e.retry_after_s for e in exclusions if e.retry_after_s is not None]
    retry_after_s = min(waits_s, default=None)
    metadata: dict[str, Any] = {
        "excluded_by": {reason.value: count for reason, count in common},
        "constraints": {reason.value: REMEDIES[reason] for reason, _ in common},
        "excluded": [
            {"endpoint": e.endpoint, "reason": e.reason.value, "detail": e.detail}
            for e in exclusions[:_LISTED]
        ],
    }
    pool = list(dict.fromkeys(e.model for t in targets if t.is_auto for e in t.endpoints))
    if pool:
        metadata["pool"] = pool[:_LISTED]
    if retry_after_s is not None:
        metadata["retry_after"] = round(retry_after_s, 3)
    reasons = counts.keys() - {ExclusionReason.NOT_PINNED}
    if reasons and reasons <= _OF_THE_KEY:
        return PermissionDeniedError(message, param="model", metadata=metadata)
    if reasons & TEMPORARY:
        return NoEndpointError(
            message,
            status=_UNAVAILABLE,
            kind="service_unavailable",
            retry_after_s=retry_after_s,
            metadata=metadata,
        )
    if ExclusionReason.BUDGET in reasons:
        return BudgetExceededError(message, metadata=metadata)
    return NoEndpointError(message, metadata=metadata)


def _described(reason: ExclusionReason, count: int, exclusions: Sequence[Exclusion]) -> str:
    """``3 by max_price (prompt 2.5 > 1)``: the detail of the first stands for all."""
    detail = next((e.detail for e in exclusions if e.reason is reason and e.detail), None)
    return f"{count} by {reason.value}" + (f" ({detail})" if detail else "")
