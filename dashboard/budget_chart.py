"""A budget over time: what is left of it, and the way it goes. Pure."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import altair as alt
import polars as pl

from dashboard import numbers
from dashboard.axes import MONEY_LABEL, value_axis, wall_axis
from dashboard.burn_down import FORECAST, LEFT
from dashboard.charts import AnyChart

_HEIGHT = 216


def burn_down_chart(points: pl.DataFrame, limit: float, zone: str) -> AnyChart:
    """What is left of a budget: the limit is a dotted rule, the forecast a dashed line in its band.

    Args:
        points: of `burn_down.burn_down`.
        limit: in USD.
        zone: whose wall clock is drawn.
    """
    rows = [
        {
            "at": _wall(row["at"], zone),
            "left": float(row["left_usd"]),
            "low": float(row["low_usd"]),
            "high": float(row["high_usd"]),
            "part": row["part"],
            "left_text": numbers.usd(row["left_usd"]),
            "band_text": ""
            if row["low_usd"] == row["high_usd"]
            else f"{numbers.usd(row['low_usd'])} to {numbers.usd(row['high_usd'])}",
            "when_text": numbers.when(row["at"], zone),
        }
        for row in points.iter_rows(named=True)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=wall_axis("at:T", points["at"][-1] - points["at"][0]),
        y=alt.Y("left:Q", scale=alt.Scale(zero=True), axis=value_axis(MONEY_LABEL)),
        tooltip=[
            alt.Tooltip("when_text:N", title="When"),
            alt.Tooltip("left_text:N", title="Left"),
            alt.Tooltip("band_text:N", title="Four of five"),
            alt.Tooltip("part:N", title="What"),
        ],
    )
    left = base.transform_filter(f"datum.part == '{LEFT}'").mark_area(
        line={"strokeWidth": 2}, opacity=0.18, interpolate="linear"
    )
    expected = base.transform_filter(f"datum.part == '{FORECAST}'")
    band = expected.mark_area(opacity=0.15).encode(y=alt.Y("low:Q"), y2="high:Q")
    forecast = expected.mark_line(strokeDash=[4, 4], strokeWidth=2)
    rule = (
        alt.Chart(alt.Data(values=[{"limit": limit}]))
        .mark_rule(strokeDash=[2, 3], strokeWidth=1.5)
        .encode(y="limit:Q", color=alt.value("red"))
    )
    has_forecast = (points["part"] == FORECAST).any()
    # Layers without a row would have Vega complain of an axis without an end.
    layers = (band, left, forecast, rule) if has_forecast else (left, rule)
    return alt.layer(*layers).properties(height=_HEIGHT)


def _wall(at: datetime, zone: str) -> str:
    # On the wall clock, drawn on a UTC scale, so that no browser shifts it.
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC).isoformat()
