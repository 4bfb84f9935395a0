"""Which endpoints may not serve a request, each exclusion with its typed reason.

A filter reads the question once and answers with a check, or with None when the request asks
nothing of the kind: what nobody asks costs nothing per endpoint.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import msgspec

from gateway.chat.preferences import AutoPreferences, ProviderPreferences
from gateway.chat.request import ChatRequest, Need
from gateway.domain.caller import Caller
from gateway.routing.capabilities import has_capability, meets, needed_capabilities
from gateway.routing.demotions import is_later, is_slower
from gateway.routing.names import Variant
from gateway.routing.offers import is_live
from gateway.routing.patterns import is_named_by, matches
from gateway.routing.plan import EndpointHealth, ExclusionReason
from pricing.catalogue import Catalogue
from pricing.endpoint import Endpoint
from pricing.price import STANDARD_SERVICE_TIERS, Price


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of every endpoint of one model."""

    request: ChatRequest
    preferences: ProviderPreferences
    """Of the request."""
    caller: Caller
    catalogue: Catalogue
    at: datetime
    is_pinned: bool
    variant: Variant | None
    offers: tuple[Endpoint, ...]
    """All of the model, also those that will be excluded."""
    needs: frozenset[Need]
    """What the answer depends on: the request's needs, and what the model's name adds."""
    health: Mapping[str, EndpointHealth] = {}
    fetches_media: bool = False
    """The gateway fetches what endpoints do not fetch themselves."""
    service_tier: str | None = None
    """That only endpoints known to offer it may serve; None lets all of them."""
    budget_headroom_usd: Decimal | None = None
    auto: AutoPreferences | None = None
    """Set where the gateway chooses the model: then unknown is never yes."""


SWITCHED_OFF = "switched off by the operator"

Verdict: TypeAlias = tuple[ExclusionReason, str | None] | None
"""Why the endpoint may not serve, with what was found there; None lets it pass."""

Check: TypeAlias = Callable[[Endpoint], Verdict]
PriceCheck: TypeAlias = Callable[[Endpoint, Price | None, Decimal | None], Verdict]


def is_offered(question: Question) -> Check:
    """For chat, and neither withdrawn by the provider nor switched off by the operator.

    Other modes are priced and listed only.
    """
    at = question.at

    def check(endpoint: Endpoint) -> Verdict:
        if endpoint.mode != "chat":
            return ExclusionReason.MODE, endpoint.mode
        if endpoint.retired_at is not None and endpoint.retired_at <= at:
            return ExclusionReason.RETIRED, f"since {endpoint.retired_at:%Y-%m-%d}"
        if endpoint.is_disabled_at(at):
            return ExclusionReason.DISABLED, SWITCHED_OFF
        return None

    return check


def key_allows_model(question: Question) -> Check | None:
    """The key's own list of models."""
    patterns = question.caller.allowed_models
    if not patterns:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        if any(matches(pattern, endpoint.model) for pattern in patterns):
            return None
        return ExclusionReason.KEY_MODEL, endpoint.model

    return check


def key_allows_provider(question: Question) -> Check | None:
    """The key's own list of providers."""
    patterns = tuple(pattern.lower() for pattern in question.caller.allowed_providers)
    if not patterns:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        if any(matches(pattern, endpoint.provider) for pattern in patterns):
            return None
        return ExclusionReason.KEY_PROVIDER, endpoint.provider

    return check


def is_among_only(question: Question) -> Check | None:
    """``provider.only``."""
    slugs = question.preferences.only
    if not slugs:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        if any(is_named_by(endpoint, slug) for slug in slugs):
            return None
        return ExclusionReason.ONLY, None

    return check


def is_not_ignored(question: Question) -> Check | None:
    """``provider.ignore``."""
    slugs = question.preferences.ignore
    if not slugs:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        for slug in slugs:
            if is_named_by(endpoint, slug):
                return ExclusionReason.IGNORE, f"by `{slug}`"
        return None

    return check


def is_among_auto_models(question: Question) -> Check | None:
    """The patterns of the plugin ``auto-router``."""
    wishes = question.auto
    if wishes is None or not (wishes.allowed_models or wishes.excluded_models):
        return None
    allowed, excluded = wishes.allowed_models or ("*",), wishes.excluded_models

    def check(endpoint: Endpoint) -> Verdict:
        model = endpoint.model
        if any(matches(pattern, model) for pattern in excluded) or not any(
            matches(pattern, model) for pattern in allowed
        ):
            return ExclusionReason.AUTO_MODELS, model
        return None

    return check


def has_quantization(question: Question) -> Check | None:
    """``provider.quantizations``; an unknown one is named ``unknown``."""
    wanted = question.preferences.quantizations
    if not wanted:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        quantization = endpoint.quantization or "unknown"
        return None if quantization in wanted else (ExclusionReason.QUANTIZATION, quantization)

    return check


def keeps_data_private(question: Question) -> Check | None:
    """``data_collection: deny``: known neither to train on prompts nor to keep them."""
    if question.preferences.data_collection != "deny":
        return None
    providers = question.catalogue.providers

    def check(endpoint: Endpoint) -> Verdict:
        provider = providers.get(endpoint.provider)
        policy = None if provider is None else provider.data_policy
        if policy is None:
            return ExclusionReason.DATA_COLLECTION, "data policy unknown"
        keeps = False if policy.zero_data_retention else policy.retains_prompts
        if policy.trains_on_prompts is False and keeps is False:
            return None
        if policy.trains_on_prompts:
            return ExclusionReason.DATA_COLLECTION, "trains on prompts"
        if keeps:
            return ExclusionReason.DATA_COLLECTION, "keeps prompts"
        return ExclusionReason.DATA_COLLECTION, "data policy unknown"

    return check


def retains_nothing(question: Question) -> Check | None:
    """``zdr``: known to keep nothing at all."""
    if not question.preferences.zdr:
        return None
    providers = question.catalogue.providers

    def check(endpoint: Endpoint) -> Verdict:
        provider = providers.get(endpoint.provider)
        policy = None if provider is None else provider.data_policy
        known = None if policy is None else policy.zero_data_retention
        if known:
            return None
        return ExclusionReason.ZDR, "retention unknown" if known is None else "keeps data"

    return check


def allows_distillation(question: Question) -> Check | None:
    """``enforce_distillable_text``: known to permit training on what it answers."""
    if not question.preferences.enforce_distillable_text:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        known = has_capability(endpoint, "distillable")
        if known:
            return None
        return ExclusionReason.DISTILLABLE, "unknown" if known is None else "forbidden"

    return check


def fits_context(question: Question) -> Check:
    """The estimated prompt and the whole answer, where the window is known."""
    prompt_tokens = question.request.prompt_tokens_estimate
    needed_tokens = prompt_tokens + (question.request.max_output_tokens or 0)
    may_be_unknown = question.auto is None

    def check(endpoint: Endpoint) -> Verdict:
        window = endpoint.context_tokens
        if window is None:
            if not may_be_unknown:
                return ExclusionReason.CONTEXT, "window unknown"
        elif needed_tokens > window:
            return ExclusionReason.CONTEXT, f"{window} tokens, about {needed_tokens} needed"
        longest = endpoint.max_input_tokens
        if longest is not None and prompt_tokens > longest:
            return ExclusionReason.CONTEXT, f"{longest} tokens in, about {prompt_tokens} needed"
        return None

    return check


def answers_at_length(question: Question) -> Check | None:
    """The asked-for cap on the answer, where the endpoint's own is known."""
    asked_tokens = question.request.max_output_tokens
    if asked_tokens is None:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        longest = endpoint.max_output_tokens
        if longest is not None and asked_tokens > longest:
            return ExclusionReason.MAX_OUTPUT, f"{longest} tokens at most"
        return None

    return check


_MODALITIES: frozenset[Need] = frozenset(
    {"vision", "audio_input", "audio_output", "image_output", "pdf_input", "video_input"}
)


_WISH: Need = "web_search"


def meets_needs(question: Question) -> Check | None:
    """What the answer depends on: what is known to be missing never serves.

    What is unknown serves when the endpoint is pinned, or when no offer of the model is known to
    have it; never under ``require_parameters`` nor from ``auto``. Every live offer counts, whatever
    the request thinks of it: otherwise ignoring one would let others in.

    A web search is a wish: where no offer is known to search, all may serve, without it.
    """
    needs = sorted(question.needs)
    if not needs:
        return None
    must_be_known = question.preferences.require_parameters
    is_auto = question.auto is not None
    at = question.at
    strict: dict[Need, bool] = {
        need: not question.is_pinned
        and any(meets(offer, need) and is_live(offer, at) for offer in question.offers)
        for need in needs
    }
    if not must_be_known and not strict.get(_WISH, True):
        del strict[_WISH]
    if is_auto:
        strict = dict.fromkeys(strict, True)

    def check(endpoint: Endpoint) -> Verdict:
        for need, is_strict in strict.items():
            known = meets(endpoint, need)
            if known is None and must_be_known:
                return ExclusionReason.REQUIRE_PARAMETERS, f"{need} unknown"
            if known is False or (known is None and is_strict):
                return _reason_of(need), need if known is False else f"{need} unknown"
        return None

    return check


def _reason_of(need: Need) -> ExclusionReason:
    return ExclusionReason.MODALITY if need in _MODALITIES else ExclusionReason.CAPABILITY


def reads_addresses(question: Question) -> Check | None:
    """Images and files named by their address: known not to fetch them never serves.

    Where no offer of the model fetches, all may serve: their refusal says what to do instead.
    """
    if not question.request.names_addresses or question.fetches_media:
        return None
    at = question.at
    if not any(fetches_addresses(offer) and is_live(offer, at) for offer in question.offers):
        return None

    def check(endpoint: Endpoint) -> Verdict:
        if fetches_addresses(endpoint):
            return None
        return ExclusionReason.CAPABILITY, "file_urls"

    return check


def fetches_addresses(endpoint: Endpoint) -> bool:
    """Whether a provider fetches what a request names by its address; most do."""
    return endpoint.capabilities.get("file_urls") is not False


def does_without_reasoning(question: Question) -> Check | None:
    """``no_reasoning``: known not to reason."""
    if question.auto is None or not question.auto.no_reasoning:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        known = has_capability(endpoint, "reasoning")
        if known is False:
            return None
        return ExclusionReason.REASONS, "unknown" if known is None else None

    return check


def offers_tier(question: Question) -> Check | None:
    """``service_tier``: never silently another one, where anybody is known to offer it."""
    tier = question.service_tier
    if tier is None:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        return None if has_tier(endpoint, tier) else (ExclusionReason.SERVICE_TIER, tier)

    return check


def has_tier(endpoint: Endpoint, tier: str) -> bool:
    """Whether the tables say that the endpoint offers a service tier."""
    return (
        tier in STANDARD_SERVICE_TIERS
        or tier in endpoint.service_tiers
        or any(tier in version.service_tiers for version in endpoint.prices)
    )


def find_tier(request: ChatRequest, offers: Iterable[Endpoint], at: datetime) -> str | None:
    """The request's service tier, when somebody among the offers is known to have it.

    None when it asks for nothing special, and when nobody does: then all may serve, and the record
    says which tier did.
    """
    tier = request.service_tier
    if tier is None or tier in STANDARD_SERVICE_TIERS:
        return None
    if any(is_live(offer, at) and has_tier(offer, tier) for offer in offers):
        return tier
    return None


def is_fast_enough(question: Question) -> Check | None:
    """``min_throughput`` and ``max_latency``: not known to miss them.

    What was never measured may serve: otherwise nobody could after a restart.
    """
    floor = question.preferences.min_throughput_tokens_per_s
    ceiling = question.preferences.max_latency_ms
    if floor is None and ceiling is None:
        return None
    health = question.health

    def check(endpoint: Endpoint) -> Verdict:
        seen = health.get(endpoint.id)
        if seen is None:
            return None
        if floor is not None and is_slower(floor, seen.throughput_tokens_per_s):
            speed = seen.throughput_tokens_per_s
            return ExclusionReason.MIN_THROUGHPUT, speed and f"{speed.p50:.1f} tokens/s at p50"
        if ceiling is not None and is_later(ceiling, seen.latency_ms):
            delay = seen.latency_ms
            return ExclusionReason.MAX_LATENCY, delay and f"{delay.p50:.0f} ms at p50"
        return None

    return check


def supports_parameters(question: Question) -> Check | None:
    """``require_parameters``: every parameter of the request is known to be supported."""
    if not question.preferences.require_parameters:
        return None
    needed = needed_capabilities(question.request.parameters)
    if not needed:
        return None

    def check(endpoint: Endpoint) -> Verdict:
        for capability in needed:
            known = has_capability(endpoint, capability)
            if not known:
                word = f"{capability} unknown" if known is None else capability
                return ExclusionReason.REQUIRE_PARAMETERS, word
        return None

    return check


FILTERS: tuple[Callable[[Question], Check | None], ...] = (
    is_offered,
    key_allows_model,
    key_allows_provider,
    is_among_only,
    is_not_ignored,
    is_among_auto_models,
    has_quantization,
    keeps_data_private,
    retains_nothing,
    allows_distillation,
    meets_needs,
    reads_addresses,
    does_without_reasoning,
    supports_parameters,
    offers_tier,
    fits_context,
    answers_at_length,
    is_fast_enough,
)
"""In the order of the reasons a reader would give: the first that applies is recorded."""
