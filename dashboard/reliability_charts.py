"""Charts of reliability: finished frames in, charts out. Pure."""

from datetime import timedelta
from typing import Any

import altair as alt
import polars as pl

from dashboard import numbers, timeline
from dashboard.axes import WITHIN, as_utc, legend, time_axis, value_axis, when_text
from dashboard.charts import SECONDARY_HEIGHT, AnyChart, hover_rule
from dashboard.periods import Period

_CELL_HEIGHT = 30
_ROOM = 90
"""A column narrower than that many pixels has its name aslant."""
_AXIS_HEIGHT = 34
_LANE_HEIGHT = 36
_LEGEND_HEIGHT = 34
_PADDING: Any = {"left": 2, "right": 4, "top": 2, "bottom": 2}
_STATE_COLOURS = {timeline.COOLING: "orange", timeline.HALF_OPEN: "blue", timeline.OPEN: "red"}


def success_chart(rates: pl.DataFrame, *, bucket: timedelta) -> AnyChart:
    """The share of requests and of attempts that succeeded; the axis does not start at zero.

    Args:
        rates: of `queries.success_rates`, with ``rescued``.
        bucket: the distance of two points.
    """
    frame = rates.with_columns(
        when_text(bucket),
        pl.col("rescued").map_elements(numbers.count, pl.String).alias("rescued_text"),
        *(
            pl.Series(
                f"{name}_text",
                [numbers.share(value, decimals=2) for value in rates[name]],
                dtype=pl.String,
            )
            for name in ("requests", "attempts")
        ),
    ).with_columns(as_utc("bucket"))
    base = alt.Chart(frame).encode(x=time_axis(rates, bucket))
    scale = alt.Scale(zero=False, nice=True)
    axis = value_axis("format(datum.value, '.1%')")
    lines = [
        base.mark_line(
            strokeWidth=2, interpolate="monotone", point=alt.OverlayMarkDef(size=8)
        ).encode(y=alt.Y(f"{name}:Q", scale=scale, axis=axis), color=alt.value(colour))
        for name, colour in (("attempts", "orange"), ("requests", "green"))
    ]
    rule = hover_rule(
        base,
        [
            alt.Tooltip("when_text:N", title="From"),
            alt.Tooltip("requests_text:N", title="Requests"),
            alt.Tooltip("attempts_text:N", title="Attempts"),
            alt.Tooltip("rescued_text:N", title="Rescued"),
        ],
    )
    return alt.layer(*lines, rule).properties(height=SECONDARY_HEIGHT, padding=_PADDING)


def matrix_chart(matrix: pl.DataFrame) -> AnyChart:
    """Where requests failed against who served them, with their number in each cell.

    Args:
        matrix: of `queries.fallback_matrix`.
    """
    frame = matrix.with_columns(
        pl.col("requests").map_elements(numbers.count, pl.String).alias("n_text"),
        pl.col("requests").cast(pl.Float64),
    )
    columns = frame["to_provider"].n_unique()
    counts: list[float] = frame["requests"].to_list()
    base = alt.Chart(frame).encode(
        x=alt.X(
            "to_provider:N",
            axis=alt.Axis(
                title=None,
                orient="top",
                labelAngle=alt.ExprRef(f"width < {_ROOM * columns} ? -35 : 0"),
                labelAlign=alt.ExprRef(f"width < {_ROOM * columns} ? 'left' : 'center'"),
                labelLimit=110,
                labelOverlap=False,
                domain=False,
                ticks=False,
            ),
            scale=alt.Scale(paddingInner=0.06),
        ),
        y=alt.Y(
            "from_provider:N",
            axis=alt.Axis(title=None, labelLimit=110, domain=False, ticks=False),
            scale=alt.Scale(paddingInner=0.06),
        ),
        tooltip=[
            alt.Tooltip("from_provider:N", title="Failed at"),
            alt.Tooltip("to_provider:N", title="Served by"),
            alt.Tooltip("n_text:N", title="Requests"),
            alt.Tooltip("reasons:N", title="Reasons"),
        ],
    )
    cells = base.mark_rect(cornerRadius=3).encode(
        color=alt.value("primary"),
        opacity=alt.Opacity(
            "requests:Q",
            # Square roots of counts: two cells that differ tenfold stay apart, and one stays seen.
            scale=alt.Scale(type="sqrt", domain=[0, max(counts)], range=[0.06, 0.5]),
            legend=None,
        ),
    )
    texts = base.mark_text(fontSize=12, fontWeight=600).encode(
        text="n_text:N", color=alt.value("gray")
    )
    rows = frame["from_provider"].n_unique()
    return alt.layer(cells, texts).properties(
        height=max(SECONDARY_HEIGHT, rows * _CELL_HEIGHT + _AXIS_HEIGHT), padding=_PADDING
    )


def timeline_chart(bars: pl.DataFrame, lanes: list[str], period: Period) -> AnyChart:
    """A row for each provider, credential or endpoint, its name above its bars.

    Args:
        bars: of `timeline.bars`.
        lanes: their names by place.
        period: what the axis spans.
    """
    wall = {
        name: pl.col(name).dt.convert_time_zone(period.zone).dt.replace_time_zone(None)
        for name in ("from_at", "shown_to", "to_at")
    }
    frame = (
        bars.with_columns(**wall)
        .with_columns(
            when_text=pl.col("from_at").dt.to_string("%a %-d %b %H:%M:%S"),
            lasted_text=pl.when(pl.col("times") > 1)
            .then(pl.col("times").cast(pl.String) + " times, " + _duration() + " in all")
            .otherwise(_duration()),
            reasons=pl.col("reasons").str.replace_all("_", " ", literal=True),
            top=pl.col("place") + 0.5,
            bottom=pl.col("place") + 0.92,
        )
        .with_columns(as_utc("from_at"), as_utc("shown_to"))
        .select(
            "lane",
            "state",
            "from_at",
            "shown_to",
            "when_text",
            "lasted_text",
            "reasons",
            "nodes",
            "top",
            "bottom",
        )
    )
    y = alt.Scale(domain=[len(lanes), 0], nice=False, zero=False)
    names = pl.DataFrame({"lane": lanes}, schema={"lane": pl.String}).with_row_index("place")
    # Nothing but the axis tells how long the period is.
    ends = pl.DataFrame({"from_at": [period.origin, period.wall_end]}).with_columns(
        as_utc("from_at")
    )
    span = (
        alt.Chart(ends)
        .mark_rule(opacity=0)
        .encode(x=_axis(period), y=alt.value(0), y2=alt.value(1), tooltip=alt.value(None))
    )
    drawn = (
        alt.Chart(frame)
        .mark_rect(cornerRadius=2)
        .encode(
            x=_axis(period),
            x2="shown_to",
            y=alt.Y("top:Q", scale=y, axis=None),
            y2="bottom",
            color=alt.Color(
                "state:N",
                scale=alt.Scale(domain=list(_STATE_COLOURS), range=list(_STATE_COLOURS.values())),
                legend=legend("square", values=list(_STATE_COLOURS)),
            ),
            tooltip=[
                alt.Tooltip("lane:N", title="Where"),
                alt.Tooltip("state:N", title="State"),
                alt.Tooltip("when_text:N", title="From"),
                alt.Tooltip("lasted_text:N", title="Lasted"),
                alt.Tooltip("reasons:N", title="Why"),
                alt.Tooltip("nodes:N", title="Gateway"),
            ],
        )
    )
    texts = (
        alt.Chart(names.with_columns(y=pl.col("place") + 0.24))
        .mark_text(align="left", baseline="middle", fontSize=12, limit=WITHIN)
        .encode(
            x=alt.value(0),
            y=alt.Y("y:Q", scale=y, axis=None),
            text="lane:N",
            color=alt.value("gray"),
        )
    )
    return alt.layer(span, drawn, texts).properties(
        height=_LANE_HEIGHT * len(lanes) + _LEGEND_HEIGHT, padding=_PADDING
    )


def _axis(period: Period) -> alt.X:
    length = period.end - period.start
    pattern = "%H:%M" if length <= timedelta(hours=30) else "%a %-d"
    if length > timedelta(days=10):
        pattern = "%-d %b"
    return alt.X(
        "from_at:T",
        scale=alt.Scale(type="utc", nice=False),
        axis=alt.Axis(
            title=None,
            format=pattern,
            tickCount=7,
            gridOpacity=0.35,
            domain=False,
            ticks=False,
            labelOverlap=True,
            labelFlush=False,
        ),
    )


def _duration() -> pl.Expr:
    return pl.col("lasted_ms").map_elements(numbers.duration, pl.String)
