"""The filters that ask what an endpoint charges for this very request."""

from collections.abc import Callable
from decimal import Decimal

from gateway.chat.preferences import MaxPrice
from gateway.routing.filters import PriceCheck, Question, Verdict
from gateway.routing.plan import ExclusionReason
from pricing.endpoint import Endpoint
from pricing.price import Price

_NO_CAPS = MaxPrice()


def is_free(question: Question) -> PriceCheck | None:
    """``:free``: known to charge nothing."""
    if question.variant != "free":
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


def _above(rate: Decimal | None, cap: Decimal) -> str | None:
    if rate is None:
        return "price unknown"
    return f"{rate:f} > {cap:f}" if rate > cap else None


PRICE_FILTERS: tuple[Callable[[Question], PriceCheck | None], ...] = (
    is_free,
    is_priced,
    is_within_max_price,
)
