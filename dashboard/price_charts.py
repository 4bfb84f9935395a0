"""What a price was, is and will be; and one model's prices side by side. Pure.

Times are on the wall clock of the reader's zone, marked as UTC and drawn on a UTC scale.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import altair as alt
import polars as pl

from dashboard import numbers, price_words
from dashboard.admin_answers import PriceSpan
from dashboard.axes import MONEY_LABEL, WITHIN, value_axis
from dashboard.charts import AnyChart
from dashboard.looks import OTHER_SLOT

_STEPS_HEIGHT = 216
_ROW_HEIGHT = 40
_AXIS_HEIGHT = 34
_LEAST_SHOWN = timedelta(days=30)
_PADDING: Any = {"left": 2, "right": 8, "top": 2, "bottom": 2}
_DRAWN = (
    "output_usd_per_mtok",
    "input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "cache_read_usd_per_mtok",
)
_OPACITIES = (1.0, 0.68, 0.44, 0.3)
PAST, FUTURE = "past", "to come"

STEPS: dict[str, pl.DataType] = {
    "at": pl.Datetime("us"),
    "until": pl.Datetime("us"),
    "meter": pl.String(),
    "usd": pl.Float64(),
    "part": pl.String(),
    "run": pl.Int64(),
    "price_text": pl.String(),
    "when_text": pl.String(),
    "from_text": pl.String(),
    "starts": pl.Boolean(),
}
"""A piece of a line for each meter and span: from ``at`` to ``until`` on the wall clock."""


def step_frame(spans: Sequence[PriceSpan], now: datetime, zone: str) -> pl.DataFrame:
    """`STEPS` of an endpoint's prices, oldest first; what is unknown leaves a gap."""
    edges = [
        edge
        for span in spans
        for edge in (span.effective_from, span.effective_to)
        if edge is not None
    ]
    first = min([*edges, now - _LEAST_SHOWN])
    last = max([*edges, now])
    margin = (last - first) / 12
    begins, ends = first - margin, last + margin
    rows: list[dict[str, Any]] = []
    for meter in _DRAWN:
        run = 0
        before: Decimal | None = None
        for span in spans:
            price = price_words.rate_of(span.terms, meter)
            if price is None:
                before = None
                continue
            run += before is None
            rows += _pieces(span, meter, price, run, (begins, now, ends), zone, before)
            before = price
    return pl.DataFrame(rows, schema=STEPS)


def _pieces(  # noqa: PLR0917 - one row
    span: PriceSpan,
    meter: str,
    price: Decimal,
    run: int,
    bounds: tuple[datetime, datetime, datetime],
    zone: str,
    before: Decimal | None,
) -> list[dict[str, Any]]:
    begins, now, ends = bounds
    since, until = span.effective_from or begins, span.effective_to or ends
    row: dict[str, Any] = {
        "meter": price_words.rate_word(meter),
        "usd": float(price),
        "run": run,
        "price_text": price_words.amount(meter, price),
        "when_text": "always"
        if span.effective_from is None
        else numbers.when_to_minute(span.effective_from, zone),
        "from_text": price_words.layer_words(span.layers),
    }
    pieces = [(since, min(until, now), PAST), (max(since, now), until, FUTURE)]
    return [
        row
        | {
            "at": _wall(start, zone),
            "until": _wall(end, zone),
            "part": part,
            "starts": start == span.effective_from and price != before,
        }
        for start, end, part in pieces
        if start < end
    ]


def steps_chart(steps: pl.DataFrame) -> AnyChart:
    """From `step_frame`: flat pieces, joined where a price changes; what is to come is dashed."""
    frame = steps.with_columns(
        pl.col("at", "until").dt.replace_time_zone("UTC"),
    )
    joints = (
        frame.sort("meter", "run", "at")
        .with_columns(pl.col("usd").shift(1).over("meter", "run").alias("usd_before"))
        .filter(pl.col("usd_before").is_not_null() & (pl.col("usd_before") != pl.col("usd")))
    )
    meters = [price_words.rate_word(meter) for meter in _DRAWN]
    present = set(steps["meter"])
    opacity = alt.Opacity(
        "meter:O",
        scale=alt.Scale(type="ordinal", domain=meters, range=list(_OPACITIES)),
        legend=alt.Legend(
            orient="top",
            title="",
            symbolType="stroke",
            symbolStrokeWidth=3,
            values=[meter for meter in meters if meter in present],
        ),
    )
    x = alt.X(
        "at:T",
        scale=alt.Scale(type="utc", nice=False),
        axis=alt.Axis(
            title=None,
            format="%-d %b %y",
            tickCount=6,
            grid=False,
            domain=False,
            ticks=False,
            labelOverlap=True,
            labelFlush=False,
        ),
    )
    y = alt.Y("usd:Q", scale=alt.Scale(zero=True), axis=value_axis(MONEY_LABEL))
    tooltip = [
        alt.Tooltip("when_text:N", title="From"),
        alt.Tooltip("meter:N", title="Meter"),
        alt.Tooltip("price_text:N", title="Price per million"),
        alt.Tooltip("from_text:N", title="Layers"),
    ]
    primary = alt.value("primary")
    layers: list[alt.Chart] = []

    def add(rows: pl.DataFrame, draw: Callable[[alt.Chart], alt.Chart], **more: str) -> None:
        # A layer without a row has no extent, of which Vega warns.
        if not rows.is_empty():
            layers.append(
                draw(alt.Chart(rows)).encode(
                    x=x, y=y, color=primary, opacity=opacity, tooltip=tooltip, **more
                )
            )

    for part, dash in ((PAST, [1, 0]), (FUTURE, [4, 4])):
        flat = partial(alt.Chart.mark_rule, strokeWidth=2.5, strokeDash=dash)
        steep = partial(alt.Chart.mark_rule, strokeWidth=1.5, strokeDash=dash)
        add(frame.filter(pl.col("part") == part), flat, x2="until")
        add(joints.filter(pl.col("part") == part), steep, y2="usd_before")
    add(frame.filter(pl.col("starts")), partial(alt.Chart.mark_point, filled=True, size=55))
    return alt.layer(*layers).properties(height=_STEPS_HEIGHT, padding=_PADDING)


COMPARED: dict[str, pl.DataType] = {
    "endpoint": pl.String(),
    "provider": pl.String(),
    "input_usd": pl.Decimal(38, 12),
    "cache_read_usd": pl.Decimal(38, 12),
    "output_usd": pl.Decimal(38, 12),
}


def dots_chart(compared: pl.DataFrame, slots: Mapping[str, int]) -> AnyChart:
    """A row for each endpoint: its input (hollow) and output price (filled) on a log axis.

    Args:
        compared: `COMPARED`, in the order of the rows; endpoints without any price are left out.
        slots: each provider's colour.
    """
    known = compared.filter(
        pl.col("input_usd").is_not_null() & pl.col("output_usd").is_not_null()
    ).with_row_index("lane")
    amounts = [float(one) for name in ("input_usd", "output_usd") for one in known[name] if one > 0]
    # A logarithm knows no zero: what is free stands at the left edge, and its text says so.
    least = min(amounts, default=1.0) / 2
    frame = known.with_columns(
        pl.col("lane").cast(pl.Float64) + 0.68,
        (pl.col("lane").cast(pl.Float64) + 0.3).alias("name_lane"),
        *(
            pl.col(name).cast(pl.Float64).clip(least).alias(short)
            for name, short in (("input_usd", "low"), ("output_usd", "high"))
        ),
        *(
            pl.col(name).map_elements(numbers.usd_per_mtok, pl.String).alias(f"{name}_text")
            for name in ("input_usd", "output_usd")
        ),
        pl.col("cache_read_usd")
        .map_elements(numbers.usd_per_mtok, pl.String)
        .fill_null(numbers.UNKNOWN)
        .alias("cache_text"),
        pl.col("provider")
        .replace_strict(dict(slots), default=OTHER_SLOT, return_dtype=pl.Int32)
        .cast(pl.String)
        .alias("slot"),
    ).drop("input_usd", "output_usd", "cache_read_usd")
    lanes = alt.Scale(domain=[0, max(1, frame.height)], reverse=True, nice=False)
    y = alt.Y("lane:Q", scale=lanes, axis=None)
    x_scale = alt.Scale(type="log", nice=True)
    x_axis = alt.Axis(
        title=None,
        orient="top",
        labelExpr=MONEY_LABEL,
        tickCount=5,
        domain=False,
        ticks=False,
        gridOpacity=0.55,
    )
    color = alt.Color(
        "slot:N",
        # By position the theme's own, so that light and dark switch in the browser.
        scale=alt.Scale(domain=[str(slot) for slot in range(OTHER_SLOT + 1)]),
        legend=None,
    )
    tooltip = [
        alt.Tooltip("endpoint:N", title="Endpoint"),
        alt.Tooltip("provider:N", title="Provider"),
        alt.Tooltip("input_usd_text:N", title="Input"),
        alt.Tooltip("cache_text:N", title="Cache read"),
        alt.Tooltip("output_usd_text:N", title="Output"),
    ]
    base = alt.Chart(frame)
    rule = base.mark_rule(strokeWidth=2, opacity=0.55).encode(
        x=alt.X("low:Q", scale=x_scale, axis=x_axis), x2="high", y=y, color=color, tooltip=tooltip
    )
    low = base.mark_point(size=70, filled=False, strokeWidth=2).encode(
        x=alt.X("low:Q", scale=x_scale, axis=x_axis), y=y, color=color, tooltip=tooltip
    )
    high = base.mark_point(size=70, filled=True, opacity=1).encode(
        x=alt.X("high:Q", scale=x_scale, axis=x_axis), y=y, color=color, tooltip=tooltip
    )
    names = base.mark_text(align="left", baseline="middle", fontSize=11, limit=WITHIN).encode(
        x=alt.value(0),
        y=alt.Y("name_lane:Q", scale=lanes, axis=None),
        text="endpoint:N",
        color=alt.value("gray"),
    )
    return alt.layer(rule, low, high, names).properties(
        height=max(1, frame.height) * _ROW_HEIGHT + _AXIS_HEIGHT, padding=_PADDING
    )


def _wall(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
