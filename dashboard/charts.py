"""Altair charts: finished frames in, charts out. Pure.

Frames come aggregated, one row per mark, with their tooltip texts. Times are on the wall clock of
the chosen zone and drawn on a UTC scale, so no browser shifts them. Here, and only here, money
becomes a float: the browser refuses to draw a Decimal with many digits.
Colours come from Streamlit's theme by position or by word, so that light and dark switch in the
browser.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import altair as alt
import polars as pl

from dashboard import numbers, queries
from dashboard.axes import (
    COUNT_LABEL,
    LATENCY_LABEL,
    MONEY_LABEL,
    alpha,
    as_utc,
    edges,
    is_edge,
    legend,
    slot_domain,
    time_axis,
    value_axis,
    when_text,
)

_MAIN_HEIGHT = 330
STRIP_HEIGHT = 92
SECONDARY_HEIGHT = 216
PADDING: Any = {"left": 2, "right": 4, "top": 2, "bottom": 2}
_ORIENT = "vertical"
_SHORT = 12
"""Letters of a name of which three stand in a line on a phone."""

AnyChart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart

OUTCOME_COLOURS: dict[str, str] = {
    queries.SERVED: "green",
    queries.RESCUED: "orange",
    queries.FAILED: "red",
    queries.UNSERVED: "gray",
}


PICK, RANGE = "pick", "range"
"""Names of what can be selected in a chart: a mark by a click, a time by a brush."""


def pickable(chart: alt.Chart, field: str) -> alt.Chart:
    """A chart whose bars can be clicked; for `picking.draw_pickable`."""
    return chart.add_params(alt.selection_point(name=PICK, fields=[field], on="click"))


def brushable(chart: alt.Chart) -> alt.Chart:
    """A chart over time of which a part can be brushed; for `picking.draw_brushable`."""
    return chart.add_params(alt.selection_interval(name=RANGE, encodings=["x"]))


def spend_chart(
    spend: pl.DataFrame, slots: dict[str, int], *, bucket: timedelta, end: datetime
) -> alt.Chart:
    """Stacked bars of spend by provider over time.

    Args:
        spend: of `queries.spend_by_bucket`.
        slots: the colour slot of each provider in it, `queries.OTHER` included.
        bucket: the width of a bar.
        end: where the data ends, on the wall clock; the bar still filling is drawn pale.
    """
    totals = spend.group_by("bucket").agg(pl.col("cost_usd").sum().alias("total_usd"))
    frame = (
        spend.join(totals, on="bucket", how="left", maintain_order="left")
        .filter((pl.col("cost_usd") > 0) | is_edge())
        .with_columns(
            when_text(bucket),
            pl.col("provider").replace_strict(slots, return_dtype=pl.Int32).alias("slot"),
            pl.col("cost_usd").map_elements(numbers.usd, pl.String).alias("spend_text"),
            (pl.col("cost_usd").cast(pl.Float64) / pl.col("total_usd").cast(pl.Float64))
            .fill_nan(None)
            .map_elements(numbers.share, pl.String)
            .alias("share_text"),
            pl.col("attempts").map_elements(numbers.count, pl.String).alias("attempts_text"),
            alpha(bucket, end),
        )
        .with_columns(pl.col("cost_usd").cast(pl.Float64), *edges(bucket))
        .drop("total_usd", "attempts")
    )
    present = sorted(set(frame["provider"]), key=lambda name: (slots[name], name))
    return (
        alt.Chart(frame)
        .mark_bar(orient=_ORIENT, binSpacing=0)
        .encode(
            x=time_axis(spend, bucket),
            x2="bucket_end",
            y=alt.Y("cost_usd:Q", stack="zero", axis=value_axis(MONEY_LABEL)),
            color=alt.Color(
                "provider:N",
                scale=alt.Scale(domain=slot_domain(slots)),
                legend=legend("square", values=present),
            ),
            order=alt.Order("slot:Q"),
            opacity=alt.Opacity("alpha:Q", scale=None, legend=None),
            tooltip=[
                alt.Tooltip("when_text:N", title="From"),
                alt.Tooltip("provider:N", title="Provider"),
                alt.Tooltip("spend_text:N", title="Spend"),
                alt.Tooltip("share_text:N", title="Share of bar"),
                alt.Tooltip("attempts_text:N", title="Attempts"),
            ],
        )
        .properties(height=_MAIN_HEIGHT, padding=PADDING)
    )


def shares_of_total(costs_usd: pl.Series) -> list[float | None]:
    """How long each bar of a ranked list is; None where the cost is unknown or all are 0."""
    total = float(sum(cost for cost in costs_usd if cost is not None))
    return [None if cost is None or total == 0 else float(cost) / total for cost in costs_usd]


def outcomes_chart(
    outcomes: pl.DataFrame, *, bucket: timedelta, end: datetime, height: int = STRIP_HEIGHT
) -> alt.Chart:
    """A strip of requests over time by what became of them; its legend is the heading's.

    Args:
        outcomes: of `queries.outcomes_by_bucket`.
        bucket: the width of a bar.
        end: where the data ends, on the wall clock.
        height: in pixels.
    """
    names = list(OUTCOME_COLOURS)
    frame = (
        outcomes.filter((pl.col("requests") > 0) | is_edge())
        .with_columns(
            when_text(bucket),
            alpha(bucket, end),
            pl.col("requests").map_elements(numbers.count, pl.String).alias("requests_text"),
            pl.col("outcome")
            .replace_strict(names, range(len(names)), return_dtype=pl.Int32)
            .alias("rank"),
        )
        .with_columns(pl.col("requests").cast(pl.Float64), *edges(bucket))
    )
    return (
        alt.Chart(frame)
        .mark_bar(orient=_ORIENT, binSpacing=0)
        .encode(
            x=time_axis(outcomes, bucket),
            x2="bucket_end",
            y=alt.Y("requests:Q", stack="zero", axis=value_axis(COUNT_LABEL, ticks=2)),
            color=alt.Color(
                "outcome:N",
                scale=alt.Scale(domain=names, range=list(OUTCOME_COLOURS.values())),
                # Its heading has one; a second would leave a strip no room.
                legend=None,
            ),
            order=alt.Order("rank:Q"),
            opacity=alt.Opacity("alpha:Q", scale=None, legend=None),
            tooltip=[
                alt.Tooltip("when_text:N", title="From"),
                alt.Tooltip("outcome:N", title="Outcome"),
                alt.Tooltip("requests_text:N", title="Requests"),
            ],
        )
        .properties(height=height, padding=PADDING)
    )


def latency_chart(traffic: pl.DataFrame, *, bucket: timedelta) -> AnyChart:
    """The band from p50 to p95 of successful requests over time.

    Args:
        traffic: of `queries.filled_traffic`; buckets without a success break the band.
        bucket: the distance of two points.
    """
    frame = traffic.select("bucket", "p50_ms", "p95_ms", "succeeded").with_columns(
        when_text(bucket),
        _text("p50_ms", numbers.duration).alias("p50_text"),
        _text("p95_ms", numbers.duration).alias("p95_text"),
        pl.col("succeeded").map_elements(numbers.count, pl.String).alias("n_text"),
        _stands_alone().cast(pl.Float64).alias("alone"),
        as_utc("bucket"),
    )
    hover = alt.selection_point(
        nearest=True, on="pointerover", clear="pointerout", fields=["bucket"], empty=False
    )
    base = alt.Chart(frame).encode(x=time_axis(traffic, bucket))
    axis = value_axis(LATENCY_LABEL)
    area = base.mark_area(opacity=0.16, color="primary").encode(
        y=alt.Y("p50_ms:Q", axis=axis, scale=alt.Scale(zero=True)),
        y2="p95_ms:Q",
        color=alt.value("primary"),
    )
    lower = base.mark_line(strokeWidth=1.5).encode(y="p50_ms:Q", color=alt.value("primary"))
    upper = base.mark_line(strokeWidth=2).encode(y="p95_ms:Q", color=alt.value("primary"))
    # A line does not show a point that stands alone between two gaps.
    points = base.mark_point(size=28, filled=True).encode(
        y="p95_ms:Q",
        color=alt.value("primary"),
        opacity=alt.Opacity("alone:Q", scale=None, legend=None),
    )
    rule = (
        base.mark_rule(strokeWidth=1)
        .encode(
            color=alt.value("gray"),
            opacity=alt.condition(hover, alt.value(0.7), alt.value(0)),
            tooltip=[
                alt.Tooltip("when_text:N", title="From"),
                alt.Tooltip("p50_text:N", title="p50"),
                alt.Tooltip("p95_text:N", title="p95"),
                alt.Tooltip("n_text:N", title="Requests"),
            ],
        )
        .add_params(hover)
    )
    return alt.layer(area, lower, upper, points, rule).properties(
        height=SECONDARY_HEIGHT, padding=PADDING
    )


def _text(column: str, write: Callable[[float], str]) -> pl.Expr:
    return pl.col(column).map_elements(write, pl.String).fill_null(numbers.UNKNOWN)


def _stands_alone() -> pl.Expr:
    value = pl.col("p95_ms")
    return value.is_not_null() & value.shift(1).is_null() & value.shift(-1).is_null()


def ranked_chart(
    spend: pl.DataFrame,
    names: list[str],
    *,
    bucket: timedelta,
    end: datetime,
    is_money: bool = True,
) -> alt.Chart:
    """Stacked bars in one hue, the largest darkest, for what has no colours of its own.

    Args:
        spend: ``bucket``, ``name``, ``value``, every bucket present.
        names: those that are told apart, largest first.
        bucket: the width of a bar.
        end: where the data ends, on the wall clock.
        is_money: whether values are dollars; else they are counts.
    """
    write: Callable[[Any], str] = numbers.usd if is_money else numbers.count
    shown = legend("square", values=names)
    if max(map(len, names), default=0) <= _SHORT:
        shown.columns = alt.ExprRef("width < 420 ? 3 : 6")
    # Their opacity is what tells them apart.
    shown.symbolOpacity = alt.Undefined
    shades = [round(1 - 0.8 * rank / max(1, len(names) - 1), 3) for rank in range(len(names))]
    frame = (
        spend.filter((pl.col("value") > 0) | is_edge())
        .with_columns(
            when_text(bucket),
            alpha(bucket, end),
            pl.col("name")
            .replace_strict(names, range(len(names)), return_dtype=pl.Int32)
            .alias("rank"),
            pl.col("value").map_elements(write, pl.String).alias("value_text"),
        )
        .with_columns(pl.col("value").cast(pl.Float64), *edges(bucket))
    )
    label = MONEY_LABEL if is_money else COUNT_LABEL
    return (
        alt.Chart(frame)
        .mark_bar(orient=_ORIENT, binSpacing=0, color="primary")
        .encode(
            x=time_axis(spend, bucket),
            x2="bucket_end",
            y=alt.Y("value:Q", stack="zero", axis=value_axis(label)),
            color=alt.value("primary"),
            opacity=alt.Opacity(
                "name:O",
                sort=names,
                # Without its type it were a scale of points, with two shades for all.
                scale=alt.Scale(type="ordinal", domain=names, range=shades),
                legend=shown,
            ),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("when_text:N", title="From"),
                alt.Tooltip("name:N", title="Name"),
                alt.Tooltip("value_text:N", title="Spend" if is_money else "Count"),
            ],
        )
        .properties(height=_MAIN_HEIGHT if is_money else SECONDARY_HEIGHT, padding=PADDING)
    )


def hover_rule(base: alt.Chart, tooltip: list[alt.Tooltip]) -> alt.Chart:
    """An invisible rule for each bucket that shows one tooltip for all lines."""
    hover = alt.selection_point(
        nearest=True, on="pointerover", clear="pointerout", fields=["bucket"], empty=False
    )
    return (
        base.mark_rule(strokeWidth=1)
        .encode(
            color=alt.value("gray"),
            opacity=alt.condition(hover, alt.value(0.7), alt.value(0)),
            tooltip=tooltip,
        )
        .add_params(hover)
    )
