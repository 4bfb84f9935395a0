"""What looks wrong about prices without being refused: rules for people, each of which caught data.

The rules that refuse stand in `validation.py` and `rate_rules.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec

from pricing.endpoint import Endpoint
from pricing.price import Price, PriceVersion
from pricing.rate_rules import CHAT_MODES

AGGREGATORS = frozenset({"openrouter", "vercel", "cloudflare", "databricks", "nvidia"})
"""Providers that resell others' models at prices that follow theirs."""
FIRST_PARTY_DAYS, AGGREGATOR_DAYS = 60, 14
MOST_OUTPUT_TIMES = Decimal(20)
MOST_TIMES = Decimal(20)


class PriceWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at."""

    endpoint: str
    rule: str
    problem: str
    key: str | None
    value: Decimal | str | None
    remedy: str


def warn_of(endpoint: Endpoint, at: datetime) -> Iterator[PriceWarning]:
    """What looks wrong about the prices of an endpoint that hold at an instant or later."""
    for version in endpoint.prices:
        if version.effective_to is not None and version.effective_to <= at:
            continue
        if endpoint.mode in CHAT_MODES and "image" not in endpoint.modalities_out:
            found = _of_chat(endpoint, version.base)
            yield from (warning for warning in found if warning.rule not in version.reviewed)
        if not endpoint.is_free:
            yield from _of_origin(endpoint, version, at.date())


def unpriced(endpoints: Iterable[Endpoint], at: datetime) -> list[Endpoint]:
    """Chat endpoints without a price at an instant: they fail every cap and are tried last."""
    return [
        endpoint
        for endpoint in endpoints
        if endpoint.mode in CHAT_MODES
        and not endpoint.is_disabled_at(at)
        and not (endpoint.retired_at is not None and endpoint.retired_at <= at)
        and not any(version.holds_at(at) for version in endpoint.prices)
    ]


def far_from_others(offers: Sequence[Endpoint], at: datetime) -> list[PriceWarning]:
    """Offers of one model that cost more than 20 times more, or less, than the others usually do.

    Cents for dollars, thousands for millions. Of several rates that are off the first is told.
    """
    found: list[PriceWarning] = []
    for name in ("input_usd_per_mtok", "output_usd_per_mtok"):
        amounts = {
            endpoint.id: amount
            for endpoint in offers
            if endpoint.mode in CHAT_MODES and (amount := _rate_at(endpoint, name, at))
        }
        for endpoint in offers:
            own = amounts.get(endpoint.id)
            others = sorted(amount for key, amount in amounts.items() if key != endpoint.id)
            if own is None or not others or any(w.endpoint == endpoint.id for w in found):
                continue
            usual = others[(len(others) - 1) // 2]
            if own > usual * MOST_TIMES or own * MOST_TIMES < usual:
                found.append(
                    _warning(
                        endpoint,
                        "far-from-others",
                        f"other providers of the model usually charge {usual:f}",
                        name,
                        own,
                        "look whether it is a slip of the unit: cents, or per thousand tokens",
                    )
                )
    return found


def _rate_at(endpoint: Endpoint, name: str, at: datetime) -> Decimal | None:
    held = next((version for version in endpoint.prices if version.holds_at(at)), None)
    return None if held is None else getattr(held.base, name)


def _of_chat(endpoint: Endpoint, base: Price) -> Iterator[PriceWarning]:
    read, written = base.input_usd_per_mtok, base.output_usd_per_mtok
    if read is None or written is None:
        return
    if written < read:
        yield _warning(
            endpoint,
            "output-below-input",
            f"output costs less than input ({read:f})",
            "output_usd_per_mtok",
            written,
            "look whether the two were exchanged",
        )
    if read and written > read * MOST_OUTPUT_TIMES:
        yield _warning(
            endpoint,
            "output-far-above-input",
            f"output costs more than {MOST_OUTPUT_TIMES} times the input ({read:f})",
            "output_usd_per_mtok",
            written,
            "look whether it is the price of images or sound",
        )


def _of_origin(endpoint: Endpoint, version: PriceVersion, today: date) -> Iterator[PriceWarning]:
    if version.source is None or version.checked_on is None:
        missing = "source" if version.source is None else "checked"
        yield _warning(
            endpoint,
            "no-origin",
            f"a price has no `{missing}`",
            "prices",
            None,
            "say where it stands and on which day somebody looked",
        )
        return
    days = AGGREGATOR_DAYS if endpoint.provider in AGGREGATORS else FIRST_PARTY_DAYS
    if version.checked_on < today - timedelta(days=days):
        yield _warning(
            endpoint,
            "stale",
            f"a price was last checked more than {days} days ago",
            "checked",
            version.checked_on.isoformat(),
            f"compare it with {version.source}, or import a price list",
        )


def _warning(  # noqa: PLR0917 - one line of a table
    endpoint: Endpoint,
    rule: str,
    problem: str,
    key: str | None,
    value: Decimal | str | None,
    remedy: str,
) -> PriceWarning:
    return PriceWarning(
        endpoint=endpoint.id, rule=rule, problem=problem, key=key, value=value, remedy=remedy
    )
