"""Charts of latency and of speed: finished frames in, charts out. Pure."""

from typing import Any

import altair as alt
import polars as pl

from dashboard import numbers
from dashboard.axes import (
    LATENCY_LABEL,
    legend,
    slot_domain,
)
from dashboard.charts import SECONDARY_HEIGHT, AnyChart

_LANE_HEIGHT = 38
_AXIS_HEIGHT = 30
_CELL_HEIGHT = 30
_PADDING: Any = {"left": 2, "right": 4, "top": 2, "bottom": 2}
_QUANTILES = {0.30103: "p50", 1.0: "p90", 1.30103: "p95", 2.0: "p99", 3.0: "p99.9"}
_LOG_TICKS = [size * 10**power for power in range(6) for size in (1, 2, 5)]
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def ranges_chart(table: pl.DataFrame) -> AnyChart:
    """A lane per endpoint: a bar from p50 to p95 and a tick at p99, its name above.

    Args:
        table: ``endpoint``, ``p50``, ``p90``, ``p95``, ``p99`` in milliseconds, ``samples``.
    """
    frame = (
        table.with_row_index("lane")
        .with_columns(
            pl.col("lane").cast(pl.Float64),
            *(_duration_text(name) for name in ("p50", "p90", "p95", "p99")),
            pl.col("samples").map_elements(numbers.count, pl.String).alias("n_text"),
        )
        .with_columns(name_at=pl.col("lane") + 0.32, bar_at=pl.col("lane") + 0.72)
    )
    scale = alt.Scale(domain=[table.height, 0], nice=False, zero=False)
    axis = alt.Axis(
        title=None,
        orient="top",
        values=_LOG_TICKS,
        labelExpr=LATENCY_LABEL,
        domain=False,
        ticks=False,
        gridOpacity=0.55,
    )
    x = alt.X("p50:Q", scale=alt.Scale(type="log", nice=True), axis=axis)
    base = alt.Chart(frame).encode(
        y=alt.Y("bar_at:Q", scale=scale, axis=None),
        tooltip=[
            alt.Tooltip("endpoint:N", title="Endpoint"),
            *(alt.Tooltip(f"{name}_text:N", title=name) for name in ("p50", "p90", "p95", "p99")),
            alt.Tooltip("n_text:N", title="Attempts"),
        ],
    )
    tail = base.mark_rule(strokeWidth=1.5, opacity=0.4).encode(
        x=x, x2="p99:Q", color=alt.value("primary")
    )
    bar = base.mark_rule(strokeWidth=7, strokeCap="round").encode(
        x=x, x2="p95:Q", color=alt.value("primary")
    )
    tick = base.mark_tick(thickness=2, size=12, orient="vertical").encode(
        x=alt.X("p99:Q", axis=axis), color=alt.value("primary")
    )
    names = (
        alt.Chart(frame)
        .mark_text(align="left", baseline="middle", fontSize=12)
        .encode(
            x=alt.value(0),
            y=alt.Y("name_at:Q", scale=scale, axis=None),
            text="endpoint:N",
            color=alt.value("gray"),
        )
    )
    return alt.layer(tail, bar, tick, names).properties(
        height=_LANE_HEIGHT * table.height + _AXIS_HEIGHT, padding=_PADDING
    )


def quantile_chart(curve: pl.DataFrame, slots: dict[str, int]) -> AnyChart:
    """Latency at every quantile, with equal room for each nine.

    Args:
        curve: of `queries.quantile_curve`.
        slots: the colour slot of each provider.
    """
    frame = curve.with_columns(
        _duration_text("ms"),
        (pl.col("share") * 100).round(2).cast(pl.String).alias("share_text"),
    )
    names = "datum.value == 0.30103 ? 'p50' : " + " : ".join(
        f"datum.value == {at} ? '{name}'" for at, name in list(_QUANTILES.items())[1:]
    )
    return (
        alt.Chart(frame)
        .mark_line(strokeWidth=2, interpolate="monotone")
        .encode(
            x=alt.X(
                "nines:Q",
                axis=alt.Axis(
                    title=None,
                    values=list(_QUANTILES),
                    labelExpr=f"{names} : ''",
                    domain=False,
                    ticks=False,
                ),
            ),
            y=alt.Y("ms:Q", scale=alt.Scale(type="log"), axis=_log_axis()),
            color=alt.Color(
                "provider:N",
                scale=alt.Scale(domain=slot_domain(slots)),
                legend=legend("stroke", values=sorted(set(frame["provider"]))),
            ),
            tooltip=[
                alt.Tooltip("share_text:N", title="Quantile, %"),
                alt.Tooltip("provider:N", title="Provider"),
                alt.Tooltip("ms_text:N", title="Latency"),
            ],
        )
        .properties(height=SECONDARY_HEIGHT + 60, padding=_PADDING)
    )


def week_chart(cells: pl.DataFrame) -> AnyChart:
    """A cell for each hour of the week, darker where it is slower.

    Args:
        cells: of `queries.hours_of_week`.
    """
    days = dict(enumerate(_DAYS, start=1))
    frame = cells.with_columns(
        _duration_text("p95"),
        pl.col("weekday").replace_strict(days, return_dtype=pl.String).alias("day"),
        pl.col("samples").map_elements(numbers.count, pl.String).alias("n_text"),
    )
    return (
        alt.Chart(frame)
        .mark_rect(cornerRadius=2)
        .encode(
            x=alt.X(
                "hour:O",
                scale=alt.Scale(domain=list(range(24)), paddingInner=0.06),
                axis=alt.Axis(
                    title=None,
                    labelAngle=0,
                    domain=False,
                    ticks=False,
                    values=list(range(0, 24, 3)),
                ),
            ),
            y=alt.Y(
                "day:O",
                scale=alt.Scale(domain=list(_DAYS), paddingInner=0.06),
                axis=alt.Axis(title=None, domain=False, ticks=False),
            ),
            color=alt.value("primary"),
            opacity=alt.Opacity("p95:Q", scale=alt.Scale(range=[0.12, 1], zero=False), legend=None),
            tooltip=[
                alt.Tooltip("day:N", title="Day"),
                alt.Tooltip("hour:Q", title="Hour"),
                alt.Tooltip("p95_text:N", title="p95"),
                alt.Tooltip("n_text:N", title="Requests"),
            ],
        )
        .properties(height=SECONDARY_HEIGHT, padding=_PADDING)
    )


def _log_axis() -> alt.Axis:
    return alt.Axis(
        title=None,
        values=_LOG_TICKS,
        labelExpr=LATENCY_LABEL,
        domain=False,
        ticks=False,
        gridOpacity=0.55,
    )


def _duration_text(column: str) -> pl.Expr:
    written = pl.col(column).map_elements(numbers.duration, pl.String)
    return written.fill_null(numbers.UNKNOWN).alias(f"{column}_text")
