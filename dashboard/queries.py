"""From what the database answered to what is drawn: frames in, frames and values out. Pure.

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

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec
import polars as pl

from dashboard.periods import Period
from gateway.domain.histograms import GROWTH
from pricing.cost import TOKENS_PER_MTOK

OTHER = "Other"
SHOWN_PROVIDERS = 7
SERVED, RESCUED, FAILED, UNSERVED = "served", "fallback", "failed", "refused or given up"
REFUSED, GIVEN_UP = "refused", "given up"
OUTCOME_WORDS = (SERVED, RESCUED, FAILED, REFUSED, GIVEN_UP)
"""What became of a request, in a word: the last two say nothing about any provider."""

_STALE_AFTER = timedelta(seconds=60)
_GONE_AFTER = timedelta(days=1)
_VERSION = 7
_YEAR_10000_MS = 253_402_300_800_000


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
    def cached_share(self) -> float | None:
        return ratio(self.cached_tokens, self.prompt_tokens)


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How far the data reaches, over all workers that ship records."""

    data_to: datetime | None
    """Everything answered before is in the database; None when no worker ever shipped."""
    is_stale: bool
    backlog_bytes: int


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One meter of one attempt."""

    meter: str
    quantity: int | None
    usd_per_mtok: Decimal | None
    """What a million came to; None for meters that are not tokens."""
    cost_usd: Decimal


class PlanRow(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of a stored plan: in its order, or excluded with the reason."""

    endpoint: str
    expected_usd: Decimal | None = None
    probability: float | None = None
    reason: str | None = None
    """None when the endpoint was in the plan."""
    detail: str | None = None


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


def percentiles(
    histogram: pl.DataFrame, by: Sequence[str], shares: Mapping[str, float]
) -> pl.DataFrame:
    """Percentiles of merged histograms, within 2 %, with ``samples``.

    Args:
        histogram: `schemas.HISTOGRAM` with the columns of ``by``.
        by: what is told apart; everything else is merged.
        shares: the name of each percentile with the share of samples at or below it.
    """
    merged = (
        histogram.group_by(*by, "bucket")
        .agg(pl.col("samples").sum())
        .sort(*by, "bucket")
        .with_columns(
            reached=pl.col("samples").cum_sum().over(list(by))
            if by
            else pl.col("samples").cum_sum(),
            whole=pl.col("samples").sum().over(list(by)) if by else pl.col("samples").sum(),
        )
    )
    middles = [
        (
            GROWTH
            ** (pl.col("bucket").filter(pl.col("reached") >= share * pl.col("whole")).first() + 0.5)
        )
        .cast(pl.Float64)
        .alias(name)
        for name, share in shares.items()
    ]
    found = [*middles, pl.col("samples").sum()]
    return merged.group_by(*by, maintain_order=True).agg(found) if by else merged.select(found)


def with_total(sums: pl.DataFrame, column: str, *, by: str | None = None) -> pl.DataFrame:
    """Sums by a column, and rows in which it is null with the sums over all of it."""
    keys = [column, *([by] if by else [])]
    measures = [name for name in sums.columns if name not in keys]
    added = pl.col(measures).sum()
    if sums.is_empty():
        return sums
    total = sums.group_by(by).agg(added) if by else sums.select(added)
    total = total.with_columns(pl.lit(None, sums.schema[column]).alias(column))
    columns = [pl.col(name).cast(kind) for name, kind in sums.schema.items()]
    return pl.concat([sums, total.select(columns)])


def change(now: float | None, before: float | None) -> float | None:
    """By which share something grew; None without anything to compare with."""
    return None if now is None or not before else now / before - 1


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


def per(amount: Decimal | None, quantity: int, unit: int = 1) -> Decimal | None:
    """Money for each ``unit`` of something; None when either is not known or nothing."""
    return None if amount is None or not quantity else amount * unit / quantity


def grown(now: Decimal | None, before: Decimal | None) -> float | None:
    """By which share money grew; None without anything to compare with."""
    return None if now is None or before is None or before <= 0 else float(now / before) - 1


def usd_share(part: Decimal, whole: Decimal | None) -> float | None:
    """Which share of money a part is; None when there is none."""
    return float(part / whole) if whole else None


def ranked(now: pl.DataFrame, before: pl.DataFrame, dimension: str) -> pl.DataFrame:
    """Sums of the whole period by ``name``, dearest first, with ``before_usd``."""
    numeric = [name for name in now.columns if name not in {"bucket", dimension}]
    past = before.group_by(dimension).agg(pl.col("cost_usd").sum().alias("before_usd"))
    return (
        now.group_by(dimension)
        .agg(pl.col(numeric).sum())
        .join(past, on=dimension, how="left")
        .rename({dimension: "name"})
        .sort("cost_usd", "attempts", "name", descending=[True, True, False])
    )


def cumulative(now: pl.DataFrame, before: pl.DataFrame, period: Period) -> pl.DataFrame:
    """``bucket``, ``now_usd`` and ``before_usd``, added up; the period before is moved here."""
    starts = bucket_starts(period.origin, period.wall_end, period.bucket).to_frame()
    past = before.with_columns(pl.col("bucket") + (period.origin - period.before.origin))
    for frame, name in ((now, "now_usd"), (past, "before_usd")):
        sums = frame.group_by("bucket").agg(pl.col("cost_usd").sum().alias(name))
        starts = starts.join(sums, on="bucket", how="left", maintain_order="left").with_columns(
            pl.col(name).fill_null(pl.lit(Decimal(0))).cum_sum()
        )
    return starts


def tokens_by_meter(
    sums: pl.DataFrame, starts: pl.Series, groups: Mapping[str, str]
) -> pl.DataFrame:
    """``bucket``, ``name`` and ``value``: tokens of each group, every bucket present."""
    counted = sums.group_by("bucket").agg(
        *(pl.col(f"{group}_tokens").sum().alias(word) for group, word in groups.items())
    )
    return (
        starts.to_frame()
        .join(counted, on="bucket", how="left", maintain_order="left")
        .with_columns(pl.col(list(groups.values())).fill_null(0))
        .unpivot(index="bucket", variable_name="name", value_name="value")
    )


def waste(sums: pl.DataFrame) -> pl.DataFrame:
    """What failed attempts cost, by ``provider`` and ``outcome``, dearest first."""
    nothing = pl.lit(Decimal(0), sums.schema["cost_usd"])
    return sums.filter(
        pl.col("outcome") != "success", (pl.col("cost_usd") > nothing) | (pl.col("unpriced") > 0)
    ).sort("cost_usd", "attempts", descending=True)


def latency_table(
    now: pl.DataFrame, before: pl.DataFrame, shares: Mapping[str, float]
) -> pl.DataFrame:
    """A row per endpoint, slowest first: percentiles of attempts, first token, speed, and before.

    Args:
        now: `schemas.HISTOGRAM` by ``metric`` and ``endpoint``.
        before: the same, of the period before.
        shares: as for `percentiles`, with ``p95``.
    """

    def of(frame: pl.DataFrame, metric: str, wanted: Mapping[str, float]) -> pl.DataFrame:
        return percentiles(frame.filter(pl.col("metric") == metric), ["endpoint"], wanted)

    return (
        of(now, "attempt", shares)
        .join(
            of(now, "attempt_ttft", {"ttft_p95": 0.95}).drop("samples"), on="endpoint", how="left"
        )
        .join(of(now, "speed", {"speed": 0.5}).drop("samples"), on="endpoint", how="left")
        .join(
            of(before, "attempt", {"before_p95": 0.95}).drop("samples"), on="endpoint", how="left"
        )
        .sort("p95", descending=True)
    )


def quantile_curve(histogram: pl.DataFrame, points: int, enough: int) -> pl.DataFrame:
    """``provider``, ``nines`` (of the quantile: 1 is p90, 2 is p99), ``share`` and ``ms``.

    Providers with fewer than ``enough`` samples are left out, and the quantiles that would rest on
    less than two samples.
    """
    nines = {f"{index:03}": 3 * index / points for index in range(1, points + 1)}
    shares = {name: 1 - 10**-value for name, value in nines.items()}
    return (
        percentiles(histogram, ["provider"], shares)
        .filter(pl.col("samples") >= enough)
        .unpivot(index=["provider", "samples"], variable_name="point", value_name="ms")
        .with_columns(
            nines=pl.col("point").replace_strict(nines, return_dtype=pl.Float64),
            share=pl.col("point").replace_strict(shares, return_dtype=pl.Float64),
        )
        .filter((1 - pl.col("share")) * pl.col("samples") >= 1)
        .sort("provider", "nines")
        .select("provider", "nines", "share", "ms")
    )


def busiest(histogram: pl.DataFrame, by: str, top: int) -> list[str]:
    """Those with the most samples."""
    return (
        histogram.group_by(by)
        .agg(pl.col("samples").sum())
        .sort("samples", by, descending=[True, False])[by]
        .head(top)
        .to_list()
    )


def hours_of_week(histogram: pl.DataFrame, enough: int) -> pl.DataFrame:
    """``weekday`` (1 is Monday), ``hour``, ``p95`` and ``samples``; cells with too few left out.

    Args:
        histogram: `schemas.HISTOGRAM` with ``weekday`` and ``hour``.
        enough: how many samples a cell needs.
    """
    cells = percentiles(histogram, ["weekday", "hour"], {"p95": 0.95})
    return cells.filter(pl.col("samples") >= enough)


def moved(now: float | None, before: float | None) -> float | None:
    """The difference of two shares; None without one of them."""
    return None if now is None or before is None else now - before


def attempt_success(providers: pl.DataFrame) -> float | None:
    """The share of attempts that succeeded, from `schemas.PROVIDERS`."""
    whole = providers.filter(pl.col("bucket").is_null())
    return ratio(int(whole["succeeded"].sum()), int(whole["judged"].sum()))


def success_rates(
    traffic: pl.DataFrame, providers: pl.DataFrame, starts: pl.Series
) -> pl.DataFrame:
    """``bucket``, ``requests`` and ``attempts``: shares that succeeded, null without any."""
    attempts = providers.group_by("bucket").agg(pl.col("succeeded", "judged").sum())
    return (
        starts.to_frame()
        .join(
            traffic.select("bucket", _rate("succeeded", "judged").alias("requests")),
            on="bucket",
            how="left",
        )
        .join(
            attempts.select("bucket", _rate("succeeded", "judged").alias("attempts")),
            on="bucket",
            how="left",
        )
        .sort("bucket")
    )


def fallback_matrix(fallbacks: pl.DataFrame) -> pl.DataFrame:
    """``from_provider``, ``to_provider``, ``requests`` and ``reasons`` in words."""
    reason = (
        pl.col("reason").str.replace_all("_", " ", literal=True)
        + " "
        + pl.col("attempts").cast(pl.String)
    )
    return (
        fallbacks.sort("attempts", "reason", descending=[True, False])
        .group_by("from_provider", "to_provider", maintain_order=True)
        .agg(pl.col("requests", "attempts").sum(), reason.str.join(", ").alias("reasons"))
        .sort("from_provider", "to_provider")
    )


def fallback_reasons(fallbacks: pl.DataFrame) -> pl.DataFrame:
    """`schemas.FALLBACKS` by ``reason`` alone, the most frequent first."""
    sums = ["attempts", "requests", "rescued", "added_us", "added_usd", "unpriced"]
    return (
        fallbacks.group_by("reason")
        .agg(pl.col(sums).sum())
        .sort("attempts", "reason", descending=[True, False])
    )


def error_classes(sums: pl.DataFrame) -> pl.DataFrame:
    """Failed attempts by ``provider`` and ``outcome``, with their ``share`` of the provider's."""
    return (
        sums.with_columns(share=pl.col("attempts") / pl.col("attempts").sum().over("provider"))
        .filter(~pl.col("outcome").is_in(["success", "superseded"]))
        .sort("attempts", "provider", "outcome", descending=[True, False, False])
    )


def label_names(dimensions: pl.DataFrame) -> list[str]:
    """The names of labels in `schemas.DIMENSIONS`, the most varied last."""
    labels = dimensions.filter(pl.col("kind") == "label")["value"].str.split_exact("=", 1)
    names = labels.struct.field("field_0").value_counts(sort=True)
    return names.sort("count", names.columns[0])[names.columns[0]].to_list()


def provider_table(providers: pl.DataFrame) -> pl.DataFrame:
    """One row per provider, dearest first: `schemas.PROVIDERS` of the period with its rates.

    Adds ``success_rate``, ``first_tried`` and ``fallback_rate``, null without a denominator.
    """
    return (
        providers.filter(pl.col("bucket").is_null())
        .drop("bucket")
        .with_columns(
            _rate("succeeded", "judged").alias("success_rate"),
            _rate("served_elsewhere", "first_tried").alias("fallback_rate"),
        )
        .sort("cost_usd", "attempts", "provider", descending=[True, True, False], nulls_last=True)
    )


def changes(now: pl.DataFrame, before: pl.DataFrame, by: Sequence[str], top: int) -> pl.DataFrame:
    """Where spend changed most: the columns of ``by``, ``now_usd``, ``before_usd``, ``change_usd``.

    Args:
        now: with the columns of ``by`` and ``cost_usd``.
        before: the same, of the period before.
        by: what is compared with itself.
        top: how many rows at most; nothing that did not change.
    """
    money = now.schema["cost_usd"]
    nothing = pl.lit(Decimal(0), money)
    sums = [
        frame.group_by(by).agg(pl.col("cost_usd").sum().alias(name))
        for frame, name in ((now, "now_usd"), (before, "before_usd"))
    ]
    return (
        sums[0]
        .join(sums[1], on=list(by), how="full", coalesce=True)
        .with_columns(pl.col("now_usd", "before_usd").fill_null(nothing).cast(money))
        .with_columns((pl.col("now_usd") - pl.col("before_usd")).cast(money).alias("change_usd"))
        .filter(pl.col("change_usd") != nothing)
        .sort(pl.col("change_usd").abs(), *by, descending=[True, *(False for _ in by)])
        .head(top)
    )


def bucket_starts(origin: datetime, end: datetime, bucket: timedelta) -> pl.Series:
    """Every bucket from ``origin`` to before ``end``, on the same wall clock."""
    starts = pl.datetime_range(origin, end, bucket, closed="left", time_unit="us", eager=True)
    return starts.alias("bucket")


def filled_traffic(traffic: pl.DataFrame, starts: pl.Series) -> pl.DataFrame:
    """`schemas.TRAFFIC` by bucket with every bucket: no traffic is 0 in sums, null in latencies."""
    counts = [name for name, kind in traffic.schema.items() if kind.is_integer()]
    return (
        starts.to_frame()
        .join(traffic, on="bucket", how="left", maintain_order="left")
        .with_columns(pl.col(counts).fill_null(0))
    )


def spend_by_bucket(
    providers: pl.DataFrame, starts: pl.Series, shown: Sequence[str]
) -> pl.DataFrame:
    """Known spend for each bucket and provider, every bucket present for every provider.

    Returns:
        ``bucket``, ``provider`` (one of ``shown`` or `OTHER`), ``cost_usd``, ``attempts``.
    """
    folded = (
        providers.filter(pl.col("bucket").is_not_null())
        .with_columns(
            pl.when(pl.col("provider").is_in(list(shown)))
            .then(pl.col("provider"))
            .otherwise(pl.lit(OTHER))
        )
        .group_by("bucket", "provider")
        .agg(pl.col("cost_usd").sum(), pl.col("attempts").sum())
    )
    names = [*shown, *([OTHER] if OTHER in folded["provider"].to_list() else [])]
    grid = starts.to_frame().join(
        pl.DataFrame({"provider": names}, schema=["provider"]).cast(pl.String), how="cross"
    )
    return grid.join(
        folded, on=["bucket", "provider"], how="left", maintain_order="left"
    ).with_columns(
        pl.col("cost_usd").fill_null(pl.lit(Decimal(0))), pl.col("attempts").fill_null(0)
    )


def outcomes_by_bucket(traffic: pl.DataFrame) -> pl.DataFrame:
    """Requests by what became of them: ``bucket``, ``outcome``, ``requests``; input is filled."""
    return (
        traffic.select(
            "bucket",
            **{
                SERVED: pl.col("succeeded") - pl.col("rescued"),
                RESCUED: pl.col("rescued"),
                FAILED: pl.col("judged") - pl.col("succeeded"),
                UNSERVED: pl.col("requests") - pl.col("judged"),
            },
        )
        .unpivot(index="bucket", variable_name="outcome", value_name="requests")
        .sort("bucket", maintain_order=True)
    )


def freshness(watermarks: pl.DataFrame, now: datetime) -> Freshness:
    """From `schemas.FRESHNESS`. Idle is fresh; a worker long gone with nothing left is left out."""
    data_to: list[datetime] = []
    backlog_bytes = 0
    for row in watermarks.iter_rows(named=True):
        if not row["backlog_bytes"] and now - row["updated_at"] > _GONE_AFTER:
            continue
        waiting_since = row["oldest_unshipped_at"] if row["backlog_bytes"] else None
        data_to.append(min(waiting_since or row["updated_at"], row["updated_at"]))
        backlog_bytes += row["backlog_bytes"]
    earliest = min(data_to, default=None)
    return Freshness(
        data_to=earliest,
        is_stale=earliest is None or now - earliest > _STALE_AFTER,
        backlog_bytes=backlog_bytes,
    )


def request_table(page: pl.DataFrame, zone: str) -> pl.DataFrame:
    """`schemas.REQUESTS` with ``path`` as the columns that a reader sees, in their order."""
    is_success = pl.col("outcome") == "success"
    return page.select(
        Id="…" + pl.col("id").str.tail(8),
        When=pl.col("received_at").dt.convert_time_zone(zone).dt.to_string("%a %-d %b %H:%M:%S"),
        Outcome=pl.concat_list(
            pl.when(is_success & pl.col("is_fallback"))
            .then(pl.lit(RESCUED))
            .when(is_success)
            .then(pl.lit(SERVED))
            .when(pl.col("outcome") == "refused")
            .then(pl.lit(REFUSED))
            .when(pl.col("outcome").is_in(["client_cancelled", "gateway_shutdown"]))
            .then(pl.lit(GIVEN_UP))
            .otherwise(pl.lit(FAILED))
        ),
        Model=pl.coalesce("used_model", "requested_model"),
        **{
            "Served by": pl.when(pl.col("used_provider").is_not_null()).then(
                pl.concat_list("used_provider")
            ),
            "Attempts": pl.col("path").fill_null(
                pl.coalesce("error_kind", "outcome").str.replace_all("_", " ", literal=True)
            ),
            "Cost": pl.col("cost_usd"),
            "Total": pl.col("duration_ms"),
            "First token": pl.col("ttft_ms"),
            "In": pl.col("prompt_tokens"),
            "Out": pl.col("completion_tokens"),
            "Key": pl.col("key_name"),
        },
    )


def attempt_paths(attempts: pl.DataFrame) -> pl.DataFrame:
    """Each request's way in one line: ``request_id``, ``path`` ("groq: rate limited → openai")."""
    step = (
        pl.when(pl.col("outcome") == "success")
        .then(pl.col("provider"))
        .otherwise(
            pl.col("provider") + ": " + pl.col("outcome").str.replace_all("_", " ", literal=True)
        )
    )
    return (
        attempts.sort("request_id", "number")
        .group_by("request_id", maintain_order=True)
        .agg(step.str.join(" → ").alias("path"))
    )


def cost_lines(attempt: Mapping[str, Any], meters: Sequence[tuple[str, str]]) -> list[CostLine]:
    """The cost lines of a row of `schemas.ATTEMPTS`.

    Args:
        attempt: the row.
        meters: each meter with the name of its cost column.
    """
    lines: list[CostLine] = []
    for meter, column in meters:
        cost_usd, quantity = attempt[column], attempt[meter]
        if cost_usd is None:
            continue
        is_tokens = meter.endswith("_tokens") and quantity
        lines.append(
            CostLine(
                meter=meter,
                quantity=quantity,
                usd_per_mtok=cost_usd * TOKENS_PER_MTOK / quantity if is_tokens else None,
                cost_usd=cost_usd,
            )
        )
    return lines


def unpriced_meters(
    attempt: Mapping[str, Any], meters: Sequence[tuple[str, str]]
) -> list[tuple[str, int]]:
    """Used meters of an attempt without a cost line, with their quantity."""
    return [
        (meter, attempt[meter])
        for meter, column in meters
        if attempt[meter] and attempt[column] is None
    ]


def plan_rows(plan_json: str) -> tuple[list[PlanRow], list[PlanRow], int]:
    """The stored plan: endpoints in their order, those excluded, and how many were in all.

    A plan of a shape that is not known yields nothing rather than an error: what was served is
    shown without it.
    """
    try:
        plan = msgspec.json.decode(plan_json, type=_StoredPlan)
    except msgspec.DecodeError:
        return [], [], 0
    planned = [
        PlanRow(endpoint=one.endpoint, expected_usd=one.cost_usd, probability=one.p)
        for one in plan.candidates
    ]
    dropped = [
        PlanRow(endpoint=one.endpoint, expected_usd=one.cost_usd, reason="no_fallbacks")
        for one in plan.dropped
    ]
    excluded = [
        PlanRow(endpoint=one.endpoint, reason=one.reason, detail=one.detail)
        for one in plan.excluded
    ]
    return (
        planned,
        dropped + excluded,
        len(dropped) + max(len(excluded), sum(plan.excluded_by.values())),
    )


def parse_request_id(text: str) -> str | None:
    """The UUID, as text, behind ``gen-…`` or a plain UUID; None when it is neither."""
    try:
        found = UUID(hex=text.strip().removeprefix("gen-").replace("-", ""))
    except ValueError:
        return None
    # Only a version 7 carries the time by which its row is found.
    return str(found) if found.version == _VERSION and found.int >> 80 < _YEAR_10000_MS else None


def generation_id(request_id: str) -> str:
    """The id as clients see it."""
    return f"gen-{request_id.replace('-', '')}"


class _StoredCandidate(msgspec.Struct, frozen=True):
    endpoint: str
    cost_usd: Decimal | None = None
    p: float | None = None


class _StoredExclusion(msgspec.Struct, frozen=True):
    endpoint: str
    reason: str
    detail: str | None = None


class _StoredPlan(msgspec.Struct, frozen=True):
    candidates: tuple[_StoredCandidate, ...] = ()
    dropped: tuple[_StoredCandidate, ...] = ()
    excluded: tuple[_StoredExclusion, ...] = ()
    excluded_by: dict[str, int] = {}


def _rate(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))
