"""Rules a declared endpoint must keep before anybody pays by it, each of which caught real data."""

from datetime import UTC, datetime
from itertools import pairwise

from pricing.endpoint import EFFORTS, Endpoint
from pricing.price import STANDARD_SERVICE_TIERS, TOKEN_RATES, PriceVersion, SizeTier
from pricing.rate_rules import check_rates, wrong


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises `CatalogueError` for the first rule that the endpoint breaks."""
    _check_limits(endpoint)
    _check_thinking(endpoint)
    for version in endpoint.prices:
        check_rates(endpoint, version)
        _check_size_tiers(endpoint, version.size_tiers, version)
        for name, tier in version.service_tiers.items():
            _check_service_name(endpoint, name)
            _check_thresholds(endpoint, tier.size_tiers)
        _check_windows(endpoint, version)
    _check_dates(endpoint)


def _check_limits(endpoint: Endpoint) -> None:
    context, output = endpoint.context_tokens, endpoint.max_output_tokens
    if context is not None and output is not None and output > context:
        raise wrong(
            endpoint,
            f"`max_output_tokens` must be at most `context_tokens` ({context})",
            key="max_output_tokens",
            value=output,
            remedy="correct one of them, or leave out the one that is not known",
        )


def _check_thinking(endpoint: Endpoint) -> None:
    thinking = endpoint.thinking
    if thinking is None:
        return
    known = [effort for effort in EFFORTS if effort in thinking.efforts]
    if tuple(known) != thinking.efforts:
        raise wrong(
            endpoint,
            "`efforts` must be known words, each once, least first",
            key="efforts",
            value=thinking.efforts,
            remedy=f"use some of {', '.join(EFFORTS)}, in this order",
        )
    least, most = thinking.min_tokens, thinking.max_tokens
    if least is not None and most is not None and least > most:
        raise wrong(
            endpoint,
            f"`min_tokens` must be at most `max_tokens` ({most})",
            key="min_tokens",
            value=least,
            remedy="correct one of them",
        )


def _check_thresholds(endpoint: Endpoint, tiers: tuple[SizeTier, ...]) -> None:
    sizes = [tier.min_prompt_tokens for tier in tiers]
    if any(later <= earlier for earlier, later in pairwise(sizes)):
        raise wrong(
            endpoint,
            "`min_prompt_tokens` must rise from tier to tier",
            key="min_prompt_tokens",
            value=sizes,
            remedy="sort the size tiers by size and give each size once",
        )


def _check_service_name(endpoint: Endpoint, name: str) -> None:
    if name in STANDARD_SERVICE_TIERS:
        raise wrong(
            endpoint,
            f"the service tier `{name}` is the standard one",
            key="service_tiers",
            remedy="write its rates on the price itself",
        )


def _check_size_tiers(
    endpoint: Endpoint, tiers: tuple[SizeTier, ...], version: PriceVersion
) -> None:
    _check_thresholds(endpoint, tiers)
    for tier in tiers:
        change = tier.change
        cheaper = next(
            (
                name
                for name, amount in change.rates.items()
                if (base := getattr(version.base, name)) is not None and amount < base
            ),
            None,
        )
        if cheaper is not None or (change.scale is not None and change.scale < 1):
            raise wrong(
                endpoint,
                f"the tier from {tier.min_prompt_tokens} tokens is cheaper than the base price",
                key=cheaper or "scale",
                value=change.rates.get(cheaper) if cheaper else change.scale,
                remedy="make the base price the one of the smallest prompts",
            )
        missing = [
            name
            for name in TOKEN_RATES
            if change.scale is None
            and getattr(version.base, name) is not None
            and name not in change.rates
        ]
        if missing:
            raise wrong(
                endpoint,
                f"the tier from {tier.min_prompt_tokens} tokens has no `{missing[0]}`",
                key="min_prompt_tokens",
                remedy="a tier prices the whole request: add the missing rates, or use `scale`",
            )


def _check_windows(endpoint: Endpoint, version: PriceVersion) -> None:
    has_other_conditions = bool(version.size_tiers or version.service_tiers)
    for window in version.windows:
        if has_other_conditions and window.change.scale is None:
            raise wrong(
                endpoint,
                "a window with prices of its own beside size or service tiers is ambiguous",
                key="windows",
                remedy="use `scale` in the window",
            )
        if any(begin >= end for begin, end in window.minutes):
            raise wrong(
                endpoint,
                "a span of `utc` must begin before it ends",
                key="utc",
                remedy='write a span across midnight as two: "22:00-24:00", "00:00-02:00"',
            )


def _check_dates(endpoint: Endpoint) -> None:
    ever = datetime.min.replace(tzinfo=UTC)
    for version in endpoint.prices:
        begins, ends = version.effective_from, version.effective_to
        if ends is not None and ends <= (begins or ever):
            raise wrong(
                endpoint,
                "`to` must be later than `from`",
                key="to",
                value=ends.isoformat(),
                remedy="`to` is the first instant at which the price no longer holds",
            )
    for earlier, later in pairwise(endpoint.prices):
        begins, ends = later.effective_from, earlier.effective_to
        if begins is None or ends is None or begins < ends:
            raise wrong(
                endpoint,
                "two prices hold at the same time",
                key="from" if begins is not None else "prices",
                value=begins.isoformat() if begins else None,
                remedy="end the earlier one with `to` at the instant the later one begins",
            )
