"""Sums of money as lines and steps: finished frames in, charts out. Pure."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import altair as alt
import polars as pl

from dashboard import numbers
from dashboard.axes import MONEY_LABEL, WITHIN, as_utc, time_axis, value_axis, when_text
from dashboard.charts import PADDING, SECONDARY_HEIGHT, AnyChart, hover_rule


def compared_chart(sums: pl.DataFrame, *, bucket: timedelta, when: str) -> AnyChart:
    """Money over a period, beside the period before.

    Args:
        sums: ``bucket``, ``now_usd`` and ``before_usd``; null where there is nothing.
        bucket: the distance of two points.
        when: what the time of a point is, "From" or "To".
    """
    frame = sums.with_columns(
        when_text(bucket),
        pl.Series("now_text", [numbers.usd(one) for one in sums["now_usd"]], dtype=pl.String),
        pl.Series("before_text", [numbers.usd(one) for one in sums["before_usd"]], dtype=pl.String),
    ).with_columns(pl.col("now_usd", "before_usd").cast(pl.Float64), as_utc("bucket"))
    base = alt.Chart(frame).encode(x=time_axis(sums, bucket))
    axis = value_axis(MONEY_LABEL)
    now = base.mark_line(strokeWidth=2).encode(
        y=alt.Y("now_usd:Q", axis=axis), color=alt.value("primary")
    )
    lines = [now]
    # A line of nothing makes Vega complain in the console.
    if frame["before_usd"].is_not_null().any():
        lines.insert(
            0,
            base.mark_line(strokeWidth=1.5, strokeDash=[4, 4]).encode(
                y=alt.Y("before_usd:Q", axis=axis), color=alt.value("gray")
            ),
        )
    return alt.layer(
        *lines,
        hover_rule(
            base,
            [
                alt.Tooltip("when_text:N", title=when),
                alt.Tooltip("now_text:N", title="This period"),
                alt.Tooltip("before_text:N", title="Before"),
            ],
        ),
    ).properties(height=SECONDARY_HEIGHT, padding=PADDING)


def bridge_chart(steps: pl.DataFrame) -> AnyChart:
    """From one sum to another by its effects; the axis is cut, so the sums are ticks, not bars.

    Args:
        steps: ``name``, ``from_usd``, ``to_usd``, ``label`` and ``kind`` (``sum``, ``more`` or
            ``less``), in their order.
    """
    frame = steps.with_columns(pl.col("from_usd", "to_usd").cast(pl.Float64)).with_columns(
        top=pl.max_horizontal("from_usd", "to_usd")
    )
    ends: list[float] = [*frame["from_usd"], *frame["to_usd"]]
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.18 or 1.0
    x = alt.X(
        "name:N",
        # Layers with fewer rows would bring their own order.
        scale=alt.Scale(domain=frame["name"].to_list()),
        axis=alt.Axis(title=None, labelAngle=0, domain=False, ticks=False, labelOverlap=False),
    )
    scale = alt.Scale(domain=[low - margin, high + margin], zero=False, nice=False)
    y = alt.Y("from_usd:Q", scale=scale, axis=value_axis(MONEY_LABEL))
    base = alt.Chart(frame).encode(
        x=x, tooltip=[alt.Tooltip("name:N", title="Effect"), alt.Tooltip("label:N", title="Change")]
    )
    bars = (
        base.transform_filter("datum.kind != 'sum'")
        .mark_bar(cornerRadius=2)
        .encode(
            y=y,
            y2="to_usd:Q",
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=["more", "less"], range=["orange", "green"]),
                legend=None,
            ),
        )
    )
    ticks = (
        base.transform_filter("datum.kind == 'sum'")
        .mark_tick(thickness=3, orient="horizontal")
        .encode(y=alt.Y("to_usd:Q", scale=scale), color=alt.value("gray"))
    )
    texts = base.mark_text(
        baseline="bottom",
        dy=-6,
        # Eight of them stand side by side on a phone too.
        fontSize=alt.ExprRef("width < 420 ? 8 : 12"),
        fontWeight=600,
    ).encode(y=alt.Y("top:Q", scale=scale), text="label:N", color=alt.value("gray"))
    return alt.layer(bars, ticks, texts).properties(height=SECONDARY_HEIGHT, padding=PADDING)


def month_chart(
    points: pl.DataFrame, *, limit_usd: Decimal | None, limit_name: str = ""
) -> AnyChart:
    """What is spent of a month, where that leads, and the budget as a dotted rule.

    Args:
        points: ``bucket`` (on the wall clock), ``usd``, ``low_usd``, ``high_usd`` and ``part``
            (``spent`` or ``forecast``), in the order of time.
        limit_usd: the budget, if there is one.
        limit_name: what to call it.
    """
    frame = points.with_columns(
        pl.col("bucket").dt.to_string("%a %-d %b %H:%M").alias("when_text"),
        pl.Series("usd_text", [numbers.usd(one) for one in points["usd"]], dtype=pl.String),
        pl.Series(
            "band_text",
            [
                f"{numbers.usd(low)} to {numbers.usd(high)}" if low != high else ""
                for low, high in zip(points["low_usd"], points["high_usd"], strict=True)
            ],
            dtype=pl.String,
        ),
    ).with_columns(pl.col("usd", "low_usd", "high_usd").cast(pl.Float64), as_utc("bucket"))
    axis = value_axis(MONEY_LABEL)
    y = alt.Y("usd:Q", axis=axis, scale=alt.Scale(zero=True))
    spent, expected = (
        alt.Chart(frame.filter(pl.col("part") == part)).encode(
            x=time_axis(points, timedelta(days=1))
        )
        for part in ("spent", "forecast")
    )
    layers: list[Any] = [
        expected.mark_area(opacity=0.15).encode(
            y=alt.Y("low_usd:Q", axis=axis), y2="high_usd:Q", color=alt.value("primary")
        ),
        spent.mark_line(strokeWidth=2).encode(y=y, color=alt.value("primary")),
        expected.mark_line(strokeWidth=2, strokeDash=[4, 4]).encode(
            y=y, color=alt.value("primary")
        ),
    ]
    if limit_usd is not None:
        named = pl.DataFrame({"limit": [float(limit_usd)], "name": [limit_name]})
        rule = alt.Chart(named).encode(y=alt.Y("limit:Q", axis=axis))
        layers += [
            rule.mark_rule(strokeDash=[2, 3], strokeWidth=1.5).encode(color=alt.value("red")),
            rule.mark_text(
                align="left", baseline="bottom", dx=4, dy=-3, fontSize=12, limit=WITHIN
            ).encode(x=alt.value(0), text="name:N", color=alt.value("gray")),
        ]
    base = alt.Chart(frame).encode(x=time_axis(points, timedelta(days=1)))
    layers.append(
        hover_rule(
            base,
            [
                alt.Tooltip("when_text:N", title="To"),
                alt.Tooltip("part:N", title="Line"),
                alt.Tooltip("usd_text:N", title="Sum"),
                alt.Tooltip("band_text:N", title="Four of five"),
            ],
        )
    )
    return alt.layer(*layers).properties(height=SECONDARY_HEIGHT, padding=PADDING)
