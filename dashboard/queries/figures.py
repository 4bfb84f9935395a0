"""Sums of a period and what follows from them. Pure.

What the figures mean, everywhere in the dashboard:

* *Spend* is the sum over attempts, failed ones included, begun in the period. It is incomplete (≥)
  when any attempt has an unknown cost. *Priced* is the share of attempts that were metered (or
  whose cost is unknown) which have a cost.
* *Success* of requests: of those that reached a provider and were neither given up by the caller
  nor cut off by our own shutdown, the share that succeeded. Of attempts: the same, attempt-wise.
* *Fallback* of requests: of those that reached a provider, the share whose answer came from another
  endpoint than the one tried first. *Rescued* are the successful ones of these.
* *Fell back* of a provider: of the requests whose first attempt went to this provider, the share
  whose answer came from another provider. Its own other endpoints do not count.
* *Latency* is the whole duration of successes as a percentile over the period, from merged
  histograms (within 2 %), never an average of percentiles.
* *Saved* is what the requests with a known baseline would have cost there, less what they did cost.
"""

from decimal import Decimal
from typing import cast

import msgspec
import polars as pl


class Spend(msgspec.Struct, frozen=True, kw_only=True):
    """A sum of money with its hole."""

    known_usd: Decimal | None
    """None when no cost is known, or nothing was attempted."""
    billable: int
    unpriced: int

    @property
    def is_complete(self) -> bool:
        return self.unpriced == 0

    @property
    def priced_share(self) -> float | None:
        """None when there was nothing to price."""
        return ratio(self.billable - self.unpriced, self.billable)


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of a period."""

    requests: int = 0
    tried: int = 0
    judged: int = 0
    succeeded: int = 0
    fell_back: int = 0
    rescued: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    caller_requests: int = 0
    baselined: int = 0
    baseline_usd: Decimal = Decimal(0)
    baselined_cost_usd: Decimal = Decimal(0)
    p50_ms: float | None = None
    p95_ms: float | None = None
    ttft_p95_ms: float | None = None

    @property
    def success_rate(self) -> float | None:
        return ratio(self.succeeded, self.judged)

    @property
    def fallback_rate(self) -> float | None:
        return ratio(self.fell_back, self.tried)

    @property
    def saved_usd(self) -> Decimal | None:
        """Against the baseline; less than 0 when it would have been cheaper, None without one."""
        return self.baseline_usd - self.baselined_cost_usd if self.baselined else None

    @property
    def covered_share(self) -> float | None:
        """Of the requests that the operator pays, those whose saving is known."""
        return ratio(self.baselined, self.requests - self.caller_requests)

    @property
    def cached_share(self) -> float | None:
        return ratio(self.cached_tokens, self.prompt_tokens)


def ratio(part: int, whole: int) -> float | None:
    """None when there is nothing to divide by."""
    return part / whole if whole else None


def total_traffic(traffic: pl.DataFrame) -> Traffic:
    """The row of `schemas.TRAFFIC` for the whole period."""
    totals = traffic.filter(pl.col("bucket").is_null()).drop("bucket")
    if totals.is_empty():
        return Traffic()
    row = totals.row(0, named=True)
    return Traffic(**{name: value for name, value in row.items() if value is not None})


def total_spend(providers: pl.DataFrame) -> Spend:
    """The sum over the providers of `schemas.PROVIDERS`."""
    totals = providers.filter(pl.col("bucket").is_null())
    known = [cast("Decimal", cost) for cost in totals["cost_usd"].drop_nulls()]
    return Spend(
        known_usd=sum(known, Decimal(0)) if known else None,
        billable=int(totals["billable"].sum()),
        unpriced=int(totals["unpriced"].sum()),
    )


def spend_of(sums: pl.DataFrame) -> Spend:
    """The sum over rows of `schemas.ATTEMPT_SUMS`."""
    unpriced, attempts = int(sums["unpriced"].sum()), int(sums["attempts"].sum())
    return Spend(
        known_usd=total_usd(sums, "cost_usd") if attempts > unpriced else None,
        billable=int(sums["billable"].sum()),
        unpriced=unpriced,
    )


def total_usd(sums: pl.DataFrame, column: str) -> Decimal:
    """The exact sum of a column of money."""
    amounts = (cast("Decimal", amount) for amount in sums[column].drop_nulls())
    return sum(amounts, Decimal(0))


def output_tokens(sums: pl.DataFrame) -> int:
    """What was written, reasoning included, in `schemas.ATTEMPT_SUMS`."""
    return int((sums["output_tokens"] + sums["reasoning_tokens"]).sum())


def per(amount: Decimal | None, quantity: int, unit: int = 1) -> Decimal | None:
    """Money for each ``unit`` of something; None when either is not known or nothing."""
    return None if amount is None or not quantity else amount * unit / quantity


def grown(now: Decimal | None, before: Decimal | None) -> float | None:
    """By which share money grew; None without anything to compare with."""
    return None if now is None or before is None or before <= 0 else float(now / before) - 1


def usd_share(part: Decimal, whole: Decimal | None) -> float | None:
    """Which share of money a part is; None when there is none."""
    return float(part / whole) if whole else None


def change(now: float | None, before: float | None) -> float | None:
    """By which share something grew; None without anything to compare with."""
    return None if now is None or not before else now / before - 1


def moved(now: float | None, before: float | None) -> float | None:
    """The difference of two shares; None without one of them."""
    return None if now is None or before is None else now - before


def attempt_success(providers: pl.DataFrame) -> float | None:
    """The share of attempts that succeeded, from `schemas.PROVIDERS`."""
    whole = providers.filter(pl.col("bucket").is_null())
    return ratio(int(whole["succeeded"].sum()), int(whole["judged"].sum()))


def rate_of(part: str, whole: str) -> pl.Expr:
    """One column over another; null without a denominator."""
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))
