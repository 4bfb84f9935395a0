"""The filters that ask what an endpoint charges for this very request."""

from collections.abc import Callable
from decimal import Decimal

from gateway.chat.preferences import MaxPrice
from gateway.routing.filters import PriceCheck, Question, Verdict
from gateway.routing.plan import ExclusionReason
from pricing.cost import worst_cost_usd
from pricing.endpoint import Endpoint
from pricing.price import Price

PROMPT_BYTES_PER_TOKEN = 2
"""How dense text gets: codes and scripts that tokenizers know badly. Estimates take 4 for usual."""
TOKENS_PER_IMAGE_AT_MOST = 1_600

_NO_CAPS = MaxPrice()


def is_free(question: Question) -> PriceCheck | None:
    """``:free`` and ``free_models_only``: known to charge nothing."""
    if question.variant != "free" and not (question.auto and question.auto.free_models_only):
        return None

    def check(_endpoint: Endpoint, price: Price | None, cost_usd: Decimal | None) -> Verdict:
        if price is not None and (price.is_free or cost_usd == 0):
            return None
        return ExclusionReason.NOT_FREE, None

    return check


def is_priced(question: Question) -> PriceCheck | None:
    """A caller with a hard budget cannot spend an unknown amount."""
    if not question.caller.has_hard_budget:
        return None

    def check(_endpoint: Endpoint, _price: Price | None, cost_usd: Decimal | None) -> Verdict:
        return (ExclusionReason.UNPRICED, None) if cost_usd is None else None

    return check


def is_within_max_price(question: Question) -> PriceCheck | None:
    """``max_price``, part by part; a price equal to the cap passes.

    A price that is only estimated may be exceeded, so it fails like an unknown one.
    """
    caps = question.preferences.max_price
    if caps is None or caps == _NO_CAPS:
        return None
    prompt, completion = caps.prompt_usd_per_mtok, caps.completion_usd_per_mtok
    request, image, audio = caps.request_usd, caps.image_usd, caps.audio_usd_per_mtok
    hears, speaks = (need in question.request.needs for need in ("audio_input", "audio_output"))

    def exceeded(price: Price) -> str | None:
        """What a missing part means: no fee per request, images billed as tokens, audio unknown."""
        if prompt is not None and (why := _above(price.input_usd_per_mtok, prompt)):
            return f"prompt {why}"
        if completion is not None and (why := _above(price.output_usd_per_mtok, completion)):
            return f"completion {why}"
        if request is not None and price.request_usd and price.request_usd > request:
            return f"request {_above(price.request_usd, request)}"
        if image is not None and price.image_usd and price.image_usd > image:
            return f"image {_above(price.image_usd, image)}"
        if audio is not None:
            for rate, is_needed in (
                (price.audio_input_usd_per_mtok, hears),
                (price.audio_output_usd_per_mtok, speaks),
            ):
                if (rate is not None or is_needed) and (why := _above(rate, audio)):
                    return f"audio {why}"
        return None

    def check(_endpoint: Endpoint, price: Price | None, cost_usd: Decimal | None) -> Verdict:
        if price is None or cost_usd is None:
            return ExclusionReason.MAX_PRICE, "price unknown"
        if price.is_estimated:
            return ExclusionReason.MAX_PRICE, "price only estimated"
        why = exceeded(price)
        return None if why is None else (ExclusionReason.MAX_PRICE, why)

    return check


def is_within_max_cost(question: Question) -> PriceCheck | None:
    """``max_cost_usd``: what one attempt may cost at most, not what it is expected to cost.

    The prompt counts with `PROMPT_BYTES_PER_TOKEN`, the answer with the request's own cap, else
    with the endpoint's longest answer, else with its whole window.
    """
    limit_usd = question.preferences.max_cost_usd
    if limit_usd is None:
        return None
    request = question.request
    prompt_tokens = max(
        request.prompt_tokens_estimate,
        -(-request.prompt_bytes // PROMPT_BYTES_PER_TOKEN)
        + request.image_count * TOKENS_PER_IMAGE_AT_MOST,
    )
    asked_tokens, choices = request.max_output_tokens, request.choice_count
    searches = 1 if "web_search" in question.needs else 0

    def check(endpoint: Endpoint, price: Price | None, _cost_usd: Decimal | None) -> Verdict:
        answer_tokens = asked_tokens or endpoint.max_output_tokens or endpoint.context_tokens
        if answer_tokens is None:
            return ExclusionReason.MAX_COST, "longest answer unknown"
        worst_usd = worst_cost_usd(
            price,
            prompt_tokens=prompt_tokens,
            output_tokens=answer_tokens * choices,
            web_searches=searches,
        )
        if worst_usd is None:
            return ExclusionReason.MAX_COST, "price unknown"
        if worst_usd > limit_usd:
            return ExclusionReason.MAX_COST, f"up to {worst_usd:f} > {limit_usd:f}"
        return None

    return check


def fits_budget(question: Question) -> PriceCheck | None:
    """What the request is expected to cost fits into what the budget still holds.

    An unknown cost is for `is_priced` to judge.
    """
    headroom_usd = question.budget_headroom_usd
    if headroom_usd is None:
        return None

    def check(_endpoint: Endpoint, _price: Price | None, cost_usd: Decimal | None) -> Verdict:
        if cost_usd is None or cost_usd == 0 or cost_usd <= headroom_usd:
            return None
        return ExclusionReason.BUDGET, f"about {cost_usd:f} > {headroom_usd:f}"

    return check


def _above(rate: Decimal | None, cap: Decimal) -> str | None:
    if rate is None:
        return "price unknown"
    return f"{rate:f} > {cap:f}" if rate > cap else None


PRICE_FILTERS: tuple[Callable[[Question], PriceCheck | None], ...] = (
    is_free,
    is_priced,
    is_within_max_price,
    is_within_max_cost,
    fits_budget,
)
