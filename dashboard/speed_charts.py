"""Charts of latency and of speed: finished frames in, charts out. Pure."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import altair as alt
import polars as pl

from dashboard import numbers
from dashboard.axes import (
    LATENCY_LABEL,
    WITHIN,
    as_utc,
    legend,
    row_title,
    slot_domain,
    time_axis,
    value_axis,
    when_text,
)
from dashboard.charts import SECONDARY_HEIGHT, AnyChart, hover_rule

SPEED_LABEL = "format(datum.value, '~s') + ' tokens/s'"
_ROUNDED_LATENCY = (
    "datum.value < 1000 ? format(datum.value, '.3~r') + ' ms' : "
    "format(datum.value / 1000, '.3~r') + ' s'"
)
_LANE_HEIGHT = 38
_AXIS_HEIGHT = 30
_PADDING: Any = {"left": 2, "right": 4, "top": 2, "bottom": 2}
_QUANTILES = {0.30103: "p50", 1.0: "p90", 1.30103: "p95", 2.0: "p99", 3.0: "p99.9"}
_LOG_TICKS = [size * 10**power for power in range(-1, 6) for size in (1, 2, 5)]
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def speed_text(tokens_per_s: float | None) -> str:
    """``320 tokens/s``; one decimal below 10."""
    if tokens_per_s is None:
        return numbers.UNKNOWN
    digits = 1 if tokens_per_s < 10 else 0  # noqa: PLR2004 - as durations are written
    return f"{tokens_per_s:.{digits}f}{numbers.NBSP}tokens/s"


def ranges_height(lanes: int) -> int:
    """How high `ranges_chart` is, for the card beside it."""
    return _LANE_HEIGHT * lanes + _AXIS_HEIGHT


def ranges_chart(
    table: pl.DataFrame, slots: dict[str, int] | None, *, is_speed: bool, counted: str
) -> AnyChart:
    """A lane for each: a bar from p50 to p95 and a tick at p99, its name above.

    Args:
        table: of `latency_queries.ranking`, with ``provider`` where there are slots.
        slots: the colour slot of each provider; None where lanes are no provider's.
        is_speed: values are tokens per second, else milliseconds.
        counted: what ``samples`` are.
    """
    write = speed_text if is_speed else numbers.duration
    shown = ("p50", "p90", "p95", "p99")
    frame = (
        table.with_row_index("lane")
        .with_columns(
            pl.col("lane").cast(pl.Float64),
            *(_text(name, write) for name in shown),
            pl.col("samples").map_elements(numbers.count, pl.String).alias("n_text"),
        )
        .with_columns(name_at=pl.col("lane") + 0.32, bar_at=pl.col("lane") + 0.72)
    )
    scale = alt.Scale(domain=[table.height, 0], nice=False, zero=False)
    axis = _log_axis(SPEED_LABEL if is_speed else LATENCY_LABEL, orient="top")
    x = alt.X("p50:Q", scale=alt.Scale(type="log", nice=True), axis=axis)
    colour = (
        alt.value("primary")
        if slots is None
        else alt.Color("provider:N", scale=alt.Scale(domain=slot_domain(slots)), legend=None)
    )
    titles = {"p50": "Half reach", "p90": "90 % reach", "p95": "95 % reach", "p99": "99 % reach"}
    base = alt.Chart(frame).encode(
        y=alt.Y("bar_at:Q", scale=scale, axis=None),
        color=colour,
        tooltip=[
            alt.Tooltip("name:N", title="Where"),
            *(
                alt.Tooltip(f"{name}_text:N", title=titles[name] if is_speed else name)
                for name in shown
            ),
            alt.Tooltip("n_text:N", title=counted.capitalize()),
        ],
    )
    tail = base.mark_rule(strokeWidth=1.5, opacity=0.4).encode(x=x, x2="p99:Q")
    bar = base.mark_rule(strokeWidth=7, strokeCap="round").encode(x=x, x2="p95:Q")
    tick = base.mark_tick(thickness=2, size=12, orient="vertical").encode(
        x=alt.X("p99:Q", axis=axis)
    )
    names = (
        alt.Chart(frame)
        .mark_text(align="left", baseline="middle", fontSize=12, limit=WITHIN)
        .encode(
            x=alt.value(0),
            y=alt.Y("name_at:Q", scale=scale, axis=None),
            text="name:N",
            color=alt.value("gray"),
        )
    )
    return alt.layer(tail, bar, tick, names).properties(
        height=ranges_height(table.height), padding=_PADDING
    )


def quantile_chart(curve: pl.DataFrame, slots: dict[str, int], *, height: int) -> AnyChart:
    """Latency at every quantile, with equal room for each nine.

    Args:
        curve: of `queries.quantile_curve`.
        slots: the colour slot of each provider.
        height: in pixels.
    """
    frame = curve.with_columns(_text("ms", numbers.duration), _quantile_text())
    names = "datum.value == 0.30103 ? 'p50' : " + " : ".join(
        f"datum.value == {at} ? '{name}'" for at, name in list(_QUANTILES.items())[1:]
    )
    x = alt.X(
        "nines:Q",
        axis=alt.Axis(
            title=None,
            values=list(_QUANTILES),
            labelExpr=f"{names} : ''",
            domain=False,
            ticks=False,
            gridOpacity=0.55,
        ),
    )
    providers = sorted(set(frame["provider"]))
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2, interpolate="monotone")
        .encode(
            x=x,
            y=alt.Y("ms:Q", scale=alt.Scale(type="log"), axis=_log_axis(LATENCY_LABEL)),
            color=alt.Color(
                "provider:N",
                scale=alt.Scale(domain=slot_domain(slots)),
                legend=_lines_legend(providers),
            ),
        )
    )
    told = _side_by_side(frame, "nines", "ms_text", providers).join(
        frame.select("nines", "quantile_text").unique(), on="nines"
    )
    hover = alt.selection_point(
        nearest=True, on="pointerover", clear="pointerout", fields=["nines"], empty=False
    )
    rule = (
        alt.Chart(told)
        .mark_rule(strokeWidth=1)
        .encode(
            x=x,
            color=alt.value("gray"),
            opacity=alt.condition(hover, alt.value(0.7), alt.value(0)),
            tooltip=[
                alt.Tooltip("quantile_text:N", title="Quantile"),
                *_provider_tooltips(providers),
            ],
        )
        .add_params(hover)
    )
    return alt.layer(lines, rule).properties(height=height, padding=_PADDING)


def week_chart(cells: pl.DataFrame) -> AnyChart:
    """A cell for each hour of the week, darker where it is slower.

    Args:
        cells: of `queries.hours_of_week`.
    """
    days = dict(enumerate(_DAYS, start=1))
    frame = cells.with_columns(
        _text("p95", numbers.duration),
        pl.col("weekday").replace_strict(days, return_dtype=pl.String).alias("day"),
        pl.col("samples").map_elements(numbers.count, pl.String).alias("n_text"),
        pl.format(
            "{}:00 to {}:00",
            pl.col("hour").cast(pl.String).str.zfill(2),
            (pl.col("hour") + 1).cast(pl.String).str.zfill(2),
        ).alias("hour_text"),
    )
    ends: list[float] = [float(p95) for p95 in (cells["p95"].min(), cells["p95"].max()) if p95]  # pyright: ignore[reportArgumentType] - numbers
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
                    labelExpr="datum.value < 10 ? '0' + datum.value : datum.value",
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
            color=alt.Color(
                "p95:Q",
                scale=alt.Scale(zero=False, nice=False),
                legend=alt.Legend(
                    orient="bottom",
                    title="",
                    gradientLength=140,
                    gradientThickness=8,
                    values=ends,
                    labelExpr=_ROUNDED_LATENCY,
                ),
            ),
            tooltip=[
                alt.Tooltip("day:N", title="Day"),
                alt.Tooltip("hour_text:N", title="Hour"),
                alt.Tooltip("p95_text:N", title="p95"),
                alt.Tooltip("n_text:N", title="Requests"),
            ],
        )
        .properties(height=SECONDARY_HEIGHT + 40, padding=_PADDING)
    )


def providers_chart(lines: pl.DataFrame, slots: dict[str, int], *, bucket: timedelta) -> AnyChart:
    """p95 of each provider over time.

    Args:
        lines: of `latency_queries.by_provider`.
        slots: the colour slot of each provider.
        bucket: the distance of two points.
    """
    providers = sorted(set(lines["provider"]))
    frame = lines.with_columns(_text("p95", numbers.duration), as_utc("bucket"))
    x = time_axis(lines, bucket)
    drawn = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=10))
        .encode(
            x=x,
            y=alt.Y("p95:Q", axis=value_axis(LATENCY_LABEL), scale=alt.Scale(zero=True)),
            color=alt.Color(
                "provider:N",
                scale=alt.Scale(domain=slot_domain(slots)),
                legend=_lines_legend(providers),
            ),
        )
    )
    told = (
        _side_by_side(
            lines.with_columns(_text("p95", numbers.duration)), "bucket", "p95_text", providers
        )
        .with_columns(when_text(bucket))
        .with_columns(as_utc("bucket"))
    )
    tooltips = [alt.Tooltip("when_text:N", title="From"), *_provider_tooltips(providers)]
    rule = hover_rule(alt.Chart(told).encode(x=x), tooltips)
    return alt.layer(drawn, rule).properties(height=SECONDARY_HEIGHT, padding=_PADDING)


def overhead_chart(percentiles: pl.DataFrame, *, bucket: timedelta) -> AnyChart:
    """What the gateway itself added, p50 and p99 over time.

    Args:
        percentiles: of `latency_queries.over_time` with ``p50`` and ``p99``.
        bucket: the distance of two points.
    """
    frame = percentiles.with_columns(
        when_text(bucket),
        _text("p50", numbers.duration),
        _text("p99", numbers.duration),
        pl.col("samples").map_elements(numbers.count, pl.String).alias("n_text"),
    ).with_columns(as_utc("bucket"))
    base = alt.Chart(frame).encode(x=time_axis(percentiles, bucket))
    axis = value_axis("format(datum.value, '~g') + ' ms'")
    lines = [
        base.mark_line(strokeWidth=2, strokeDash=dash, point=alt.OverlayMarkDef(size=10)).encode(
            y=alt.Y(f"{name}:Q", axis=axis, scale=alt.Scale(zero=True)), color=alt.value(colour)
        )
        for name, colour, dash in (("p99", "gray", [4, 4]), ("p50", "primary", [1, 0]))
    ]
    rule = hover_rule(
        base,
        [
            alt.Tooltip("when_text:N", title="From"),
            alt.Tooltip("p50_text:N", title="p50"),
            alt.Tooltip("p99_text:N", title="p99"),
            alt.Tooltip("n_text:N", title="Requests"),
        ],
    )
    return alt.layer(*lines, rule).properties(height=SECONDARY_HEIGHT, padding=_PADDING)


def _lines_legend(providers: list[str]) -> alt.Legend:
    shown = legend("stroke", values=providers)
    # Beside another card there is room for three names.
    shown.columns = alt.ExprRef("width < 420 ? 2 : 3")
    return shown


def _side_by_side(frame: pl.DataFrame, key: str, text: str, providers: list[str]) -> pl.DataFrame:
    """A row for each key with a column ``of_N`` for each provider; names may hold anything."""
    wide = frame.select(key).unique(maintain_order=True)
    for place, provider in enumerate(providers):
        own = frame.filter(pl.col("provider") == provider).select(
            key, pl.col(text).alias(f"of_{place}")
        )
        wide = wide.join(own, on=key, how="left", maintain_order="left")
    return wide.with_columns(pl.col(pl.String).fill_null(numbers.UNKNOWN))


def _provider_tooltips(providers: list[str]) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"of_{place}:N", title=row_title(provider))
        for place, provider in enumerate(providers)
    ]


def _quantile_text() -> pl.Expr:
    percent = (pl.col("share") * 100).round(2).cast(pl.String)
    return ("p" + percent.str.strip_suffix(".0")).alias("quantile_text")


def _log_axis(label: str, *, orient: str = "left") -> alt.Axis:
    where: Any = orient
    return alt.Axis(
        title=None,
        orient=where,
        values=_LOG_TICKS,
        labelExpr=label,
        labelOverlap=True,
        domain=False,
        ticks=False,
        gridOpacity=0.55,
    )


def _text(column: str, write: Callable[[float | None], str]) -> pl.Expr:
    written = pl.col(column).map_elements(write, pl.String)
    return written.fill_null(numbers.UNKNOWN).alias(f"{column}_text")
