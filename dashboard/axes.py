"""What charts share: axes, legends, and columns that place a bar on the wall clock. Pure."""

import re
from datetime import datetime, timedelta
from typing import Any

import altair as alt
import polars as pl

from dashboard.looks import OTHER_SLOT
from dashboard.queries import OTHER

_FILLING_ALPHA = 0.5

MONEY_LABEL = (
    "datum.value == 0 ? '$0' : "
    "abs(datum.value) >= 1 ? '$' + format(datum.value, '~s') : "
    # Whole cents have two digits, what is finer as many as it takes.
    "abs(datum.value * 100 - round(datum.value * 100)) < 1e-6 ? '$' + format(datum.value, '.2f') : "
    "'$' + format(datum.value, '.2~r')"
)
# Between 0 and 1 there is nothing to count, which "500m" were.
COUNT_LABEL = "datum.value % 1 ? '' : format(datum.value, '~s')"
LATENCY_LABEL = (
    "datum.value < 1000 ? format(datum.value, '~f') + ' ms' : "
    "format(datum.value / 1000, '~f') + ' s'"
)


_BREAKS_A_TEXT = re.compile(r"[\\\x00-\x1f\u2028\u2029]")
WITHIN: Any = alt.ExprRef("width")
"""The room of a text that begins at the left edge: more of it would make the chart smaller."""


def row_title(name: str) -> str:
    """A name as it heads a row of a tooltip.

    Vega-Lite writes it into an expression in quotes, and escapes nothing else than these; Streamlit
    draws a picture of a row called ``image``, and a heading of one called ``title``.
    """
    written = _BREAKS_A_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", name)
    return f"{written}\N{WORD JOINER}" if written in {"image", "title"} else written


def slot_domain(slots: dict[str, int]) -> list[str]:
    """Providers by slot: the theme's colours are taken by position."""
    # Every slot needs a name; those that nobody has get invisible ones.
    names = {slot: name for name, slot in slots.items() if name != OTHER}
    return [
        *(names.get(slot, "\N{ZERO WIDTH SPACE}" * (slot + 1)) for slot in range(OTHER_SLOT)),
        OTHER,
    ]


def time_axis(frame: pl.DataFrame, bucket: timedelta) -> alt.X:
    """The wall clock from the first bucket of the frame to the end of its last."""
    return wall_axis("bucket:T", frame["bucket"].n_unique() * bucket)


def wall_axis(field: str, length: timedelta) -> alt.X:
    """The wall clock, with marks as they fit a time of that length."""
    if length <= timedelta(hours=30):
        pattern, ticks = "%H:%M", 6
    elif length <= timedelta(days=10):
        pattern, ticks = "%a %-d", 7
    else:
        pattern, ticks = "%-d %b", 8
    return alt.X(
        field,
        scale=alt.Scale(type="utc", nice=False),
        axis=alt.Axis(
            title=None,
            format=pattern,
            tickCount=ticks,
            grid=False,
            domain=False,
            ticks=False,
            labelOverlap=True,
            labelFlush=False,
        ),
    )


def value_axis(label: str, *, ticks: int = 5) -> alt.Axis:
    """Quantities with their unit, written by the Vega expression ``label``."""
    return alt.Axis(
        title=None, tickCount=ticks, labelExpr=label, domain=False, ticks=False, gridOpacity=0.55
    )


def legend(symbol: str, *, values: list[str], orient: str = "top") -> alt.Legend:
    """On top, square or stroke, only what is there."""
    kind: Any = symbol
    where: Any = orient
    return alt.Legend(
        orient=where,
        # None makes Streamlit insert a blank title.
        title="",
        symbolType=kind,
        symbolOpacity=1,
        values=values,
        columns=alt.ExprRef("width < 420 ? 2 : 6"),
        labelLimit=180,
        labelFontSize=12,
    )


def as_utc(column: str) -> pl.Expr:
    """A wall clock marked as UTC, which no browser shifts."""
    return pl.col(column).dt.replace_time_zone("UTC")


def edges(bucket: timedelta) -> list[pl.Expr]:
    """``bucket`` and ``bucket_end``, ready to be drawn."""
    return [as_utc("bucket"), as_utc("bucket").dt.offset_by(_every(bucket)).alias("bucket_end")]


def _every(bucket: timedelta) -> str:
    return f"{int(bucket.total_seconds())}s"


def is_edge() -> pl.Expr:
    """The first and the last bucket, which stay even when empty: they span the axis."""
    bucket = pl.col("bucket")
    return (bucket == bucket.min()) | (bucket == bucket.max())


def alpha(bucket: timedelta, end: datetime) -> pl.Expr:
    """``alpha``: the bar that is still filling is pale."""
    is_filling = pl.col("bucket") + bucket > end
    return pl.when(is_filling).then(_FILLING_ALPHA).otherwise(1.0).alias("alpha")


def when_text(bucket: timedelta) -> pl.Expr:
    """``when_text``: when a bucket begins."""
    pattern = "%a %-d %b" if bucket >= timedelta(days=1) else "%a %-d %b %H:%M"
    return pl.col("bucket").dt.to_string(pattern).alias("when_text")
