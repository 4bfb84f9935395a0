"""What other rules would change: from which endpoint requests go to which. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from dashboard import numbers
from dashboard.admin_answers import ReplayMove
from dashboard.charts import AnyChart

REFUSED, OTHERS = "refused", "others"
_MOST_NAMES = 8
_CELL_HEIGHT, _AXIS_HEIGHT, _LEAST_HEIGHT = 34, 110, 150
_PADDING: Any = {"left": 2, "right": 4, "top": 2, "bottom": 2}

MOVES: dict[str, pl.DataType] = {
    "from_endpoint": pl.String(),
    "to_endpoint": pl.String(),
    "requests": pl.Int64(),
}


def changed_moves(moves: Sequence[ReplayMove]) -> list[ReplayMove]:
    """Those that lead elsewhere, the commonest first."""
    changed = [one for one in moves if one.from_ != one.to]
    return sorted(changed, key=lambda one: (-one.requests, one.from_ or "", one.to or ""))


def move_frame(moves: Sequence[ReplayMove]) -> pl.DataFrame:
    """`MOVES` between the commonest endpoints of either side; the rest are "others"."""
    changed = changed_moves(moves)
    sides = [_commonest([(name(one), one.requests) for one in changed]) for name in (_old, _new)]
    counted: Counter[tuple[str, str]] = Counter()
    for one in changed:
        pair = [
            name if name in kept else OTHERS
            for name, kept in zip((_old(one), _new(one)), sides, strict=True)
        ]
        counted[pair[0], pair[1]] += one.requests
    return pl.DataFrame(
        [
            {"from_endpoint": old, "to_endpoint": new, "requests": count}
            for (old, new), count in sorted(counted.items())
        ],
        schema=MOVES,
    )


def moves_chart(frame: pl.DataFrame) -> AnyChart:
    """From `move_frame`: the endpoint of now in rows, the one there would be in columns."""
    written = frame.with_columns(
        pl.col("requests").map_elements(numbers.count, pl.String).alias("n_text")
    )
    base = alt.Chart(written).encode(
        x=alt.X(
            "to_endpoint:N",
            axis=alt.Axis(
                title=None,
                orient="top",
                labelAngle=-40,
                labelLimit=150,
                labelOverlap=False,
                domain=False,
                ticks=False,
            ),
            scale=alt.Scale(paddingInner=0.06),
        ),
        y=alt.Y(
            "from_endpoint:N",
            axis=alt.Axis(title=None, labelLimit=170, domain=False, ticks=False),
            scale=alt.Scale(paddingInner=0.06),
        ),
        tooltip=[
            alt.Tooltip("from_endpoint:N", title="Now"),
            alt.Tooltip("to_endpoint:N", title="Then"),
            alt.Tooltip("n_text:N", title="Requests"),
        ],
    )
    cells = base.mark_rect(cornerRadius=3).encode(
        color=alt.value("primary"),
        opacity=alt.Opacity(
            "requests:Q", scale=alt.Scale(type="sqrt", range=[0.06, 0.5]), legend=None
        ),
    )
    texts = base.mark_text(fontSize=12, fontWeight=600).encode(
        text="n_text:N", color=alt.value("gray")
    )
    rows = frame["from_endpoint"].n_unique()
    return alt.layer(cells, texts).properties(
        height=max(_LEAST_HEIGHT, rows * _CELL_HEIGHT + _AXIS_HEIGHT), padding=_PADDING
    )


def _old(one: ReplayMove) -> str:
    return one.from_ or REFUSED


def _new(one: ReplayMove) -> str:
    return one.to or REFUSED


def _commonest(counts: Sequence[tuple[str, int]]) -> frozenset[str]:
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name] += count
    return frozenset(name for name, _ in total.most_common(_MOST_NAMES))
