"""What a period would have cost if a change of prices had been in force all the time. Pure.

Where more attempts were recorded than are computed again, the difference of the newest ones grows
in proportion to what their endpoint cost, or to its attempts where none of these had a cost.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from pricing.catalogue import Catalogue
from pricing.cost import difference_usd, in_proportion, sum_known
from pricing.rerating import RecordedAttempt, Verdict, rerate

_ZERO = Decimal(0)
_KEPT: tuple[Verdict, ...] = (
    "reported",
    "unmetered",
    "unknown_endpoint",
    "unpriced",
    "paid_by_caller",
)


class EndpointSpend(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded of an endpoint in the period, corrections included."""

    endpoint: str
    provider: str
    model: str
    attempts: int
    recorded_usd: Decimal
    unpriced: int


class PreviewedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that the change concerns."""

    endpoint: str
    provider: str
    model: str
    attempts: int
    attempts_read: int
    recorded_usd: Decimal
    would_be_usd: Decimal | None
    """None where no attempt could be read."""
    difference_usd: Decimal | None
    unpriced_before: int
    unpriced_after: int
    is_extrapolated: bool


class PreviewedSpend(msgspec.Struct, frozen=True, kw_only=True):
    """The whole spend of the period beside what it would have been."""

    recorded_usd: Decimal
    would_be_usd: Decimal | None
    """None where that of an endpoint is."""
    difference_usd: Decimal | None
    attempts: int
    attempts_of_change: int
    attempts_read: int
    is_extrapolated: bool
    extrapolation: str | None
    """In words; None where every attempt was computed again."""
    unpriced_before: int
    unpriced_after: int
    kept: dict[str, int]
    """Of the attempts that were read: those that keep their cost, by why."""
    endpoints: tuple[PreviewedEndpoint, ...]
    """Dearest first."""


class _Seen(msgspec.Struct, kw_only=True):
    read: int = 0
    recorded_usd: Decimal = _ZERO
    difference_usd: Decimal = _ZERO
    unpriced_after: int = 0


class PreviewTally:
    """Adds up attempts under changed prices."""

    def __init__(self, catalogue: Catalogue, spend: Sequence[EndpointSpend]) -> None:
        """Begin with nothing.

        Args:
            catalogue: with the change, in force all the time.
            spend: of all endpoints in the period, also of those that the change leaves alone.
        """
        self._catalogue = catalogue
        self._spend = spend
        self._verdicts: Counter[Verdict] = Counter()
        self._seen: dict[str, _Seen] = {}

    def add(self, attempt: RecordedAttempt) -> None:
        """Compute an attempt of an endpoint that the change concerns."""
        verdict, cost = rerate(attempt, self._catalogue)
        self._verdicts[verdict] += 1
        seen = self._seen.setdefault(attempt.endpoint, _Seen())
        seen.read += 1
        if attempt.is_paid_by_caller:
            return
        now_usd = attempt.cost_usd if cost is None else cost.total_usd
        if now_usd is None:
            seen.unpriced_after += 1
        difference = difference_usd(now_usd, attempt.cost_usd)
        seen.difference_usd = sum_known(seen.difference_usd, difference) or _ZERO
        seen.recorded_usd = sum_known(seen.recorded_usd, attempt.cost_usd or _ZERO) or _ZERO

    def result(self, concerned: frozenset[str]) -> PreviewedSpend:
        """What came of it; ``concerned`` are the endpoints that the change concerns."""
        spend = self._spend
        endpoints = [self._previewed(one) for one in spend if one.endpoint in concerned]
        endpoints.sort(key=lambda one: (-one.recorded_usd, one.endpoint))
        recorded = sum_known(*(one.recorded_usd for one in spend)) or _ZERO
        difference = sum_known(*(one.difference_usd for one in endpoints))
        unpriced = sum(one.unpriced for one in spend)
        of_change = sum(one.attempts for one in endpoints)
        read = sum(one.attempts_read for one in endpoints)
        is_extrapolated = any(one.is_extrapolated for one in endpoints)
        return PreviewedSpend(
            recorded_usd=recorded,
            would_be_usd=sum_known(recorded, difference),
            difference_usd=difference,
            attempts=sum(one.attempts for one in spend),
            attempts_of_change=of_change,
            attempts_read=read,
            is_extrapolated=is_extrapolated,
            extrapolation=_extrapolation(read, of_change) if is_extrapolated else None,
            unpriced_before=unpriced,
            unpriced_after=unpriced
            + sum(one.unpriced_after - one.unpriced_before for one in endpoints),
            kept={verdict: self._verdicts[verdict] for verdict in _KEPT},
            endpoints=tuple(endpoints),
        )

    def _previewed(self, spend: EndpointSpend) -> PreviewedEndpoint:
        seen = self._seen.get(spend.endpoint, _Seen())
        is_extrapolated = seen.read < spend.attempts
        difference: Decimal | None = seen.difference_usd
        unpriced_after = seen.unpriced_after
        if not seen.read and spend.attempts:
            difference, unpriced_after = None, spend.unpriced
        elif is_extrapolated:
            difference = _grown(seen, spend)
            # To the nearest whole attempt.
            unpriced_after = (2 * seen.unpriced_after * spend.attempts + seen.read) // (
                2 * seen.read
            )
        return PreviewedEndpoint(
            endpoint=spend.endpoint,
            provider=spend.provider,
            model=spend.model,
            attempts=spend.attempts,
            attempts_read=seen.read,
            recorded_usd=spend.recorded_usd,
            would_be_usd=sum_known(spend.recorded_usd, difference),
            difference_usd=difference,
            unpriced_before=spend.unpriced,
            unpriced_after=unpriced_after,
            is_extrapolated=is_extrapolated,
        )


def _grown(seen: _Seen, spend: EndpointSpend) -> Decimal:
    if seen.recorded_usd:
        return in_proportion(seen.difference_usd, seen.recorded_usd, spend.recorded_usd)
    return in_proportion(seen.difference_usd, Decimal(seen.read), Decimal(spend.attempts))


def _extrapolation(read: int, of: int) -> str:
    return (
        f"The newest {read:,} of {of:,} attempts were computed again; what they differ by was "
        "taken for the others too, in proportion to what each endpoint cost."
    )
