"""What a caller is told when no endpoint may serve: what ruled them out, and what to change."""

from collections import Counter
from collections.abc import Mapping, Sequence

from gateway.domain.errors import GatewayError, NoEndpointError, PermissionDeniedError
from gateway.routing.names import Target
from gateway.routing.plan import Exclusion, ExclusionReason

REMEDIES: Mapping[ExclusionReason, str] = {
    ExclusionReason.KEY_MODEL: "use a model this key may use",
    ExclusionReason.KEY_PROVIDER: "use a provider this key may use",
    ExclusionReason.ONLY: "name a provider of this model in `provider.only`",
    ExclusionReason.IGNORE: "shorten `provider.ignore`",
    ExclusionReason.NOT_PINNED: "name the model without a provider",
    ExclusionReason.NOT_FREE: "drop `:free`",
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
    ExclusionReason.MODE: "use a chat model",
    ExclusionReason.RETIRED: "use a newer model",
    ExclusionReason.CREDENTIAL: "have the operator renew the provider's credential",
    ExclusionReason.COOLING_DOWN: "try again later",
}
"""What would have to change, for each reason."""

TEMPORARY = frozenset({ExclusionReason.CREDENTIAL, ExclusionReason.COOLING_DOWN})
_OF_THE_KEY = frozenset({ExclusionReason.KEY_MODEL, ExclusionReason.KEY_PROVIDER})
_LISTED = 20
_UNAVAILABLE = 503


def refusal(targets: Sequence[Target], exclusions: Sequence[Exclusion]) -> GatewayError:
    """The error for a request that no endpoint may serve.

    403 when the key alone rules out every endpoint, 503 when one would serve once it has
    recovered, else 404. ``metadata.excluded_by`` counts reasons, the commonest first;
    ``metadata.excluded`` lists the first 20 endpoints.
    """
    counts = Counter(exclusion.reason for exclusion in exclusions)
    models = ", ".join(f"`{model}`" for model in dict.fromkeys(t.model for t in targets))
    found = "; ".join(
        _described(reason, count, exclusions) for reason, count in counts.most_common()
    )
    remedies = ", or ".join(REMEDIES[reason] for reason, _ in counts.most_common())
    message = (
        f"No endpoint may serve {models} for this request: {found}. To change that: {remedies}"
    )
    metadata = {
        "excluded_by": {reason.value: count for reason, count in counts.most_common()},
        "excluded": [
            {"endpoint": e.endpoint, "reason": e.reason.value, "detail": e.detail}
            for e in exclusions[:_LISTED]
        ],
    }
    reasons = counts.keys() - {ExclusionReason.NOT_PINNED}
    if reasons and reasons <= _OF_THE_KEY:
        return PermissionDeniedError(message, param="model", metadata=metadata)
    if reasons & TEMPORARY:
        return NoEndpointError(
            message, status=_UNAVAILABLE, kind="service_unavailable", metadata=metadata
        )
    return NoEndpointError(message, metadata=metadata)


def _described(reason: ExclusionReason, count: int, exclusions: Sequence[Exclusion]) -> str:
    """``3 by max_price (prompt 2.5 > 1)``: the detail of the first stands for all."""
    detail = next((e.detail for e in exclusions if e.reason is reason and e.detail), None)
    return f"{count} by {reason.value}" + (f" ({detail})" if detail else "")
