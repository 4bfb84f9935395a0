"""The attempts of one request as bars over time: finished frames in, charts out. Pure."""

from typing import Any

import altair as alt
import polars as pl

from dashboard.axes import LATENCY_LABEL, WITHIN, legend
from dashboard.charts import PADDING, AnyChart

PHASE_COLOURS: dict[str, str] = {
    "wait": "blue",
    "stream": "green",
    "answer": "green",
    "failed": "red",
}

_LANE_HEIGHT = 62
_AXIS_AND_LEGEND_HEIGHT = 60
# Column, distance from the lane's top, weight, opacity.
_CAPTION_LINES: Any = (("name", 0.18, 600, 1.0), ("note", 0.44, 400, 0.85))


def waterfall_chart(phases: pl.DataFrame, captions: pl.DataFrame) -> AnyChart:
    """What each attempt of a request did when, one lane per attempt, its sentence above the bar.

    Args:
        phases: ``lane`` (0 on top), ``phase`` of `PHASE_COLOURS`, ``from_ms``, ``to_ms``,
            ``attempt``, ``took_text``.
        captions: ``lane``, ``name``, ``note``.
    """
    lanes = captions.height
    y_scale = alt.Scale(domain=[lanes, 0], nice=False, zero=False)
    bars = (
        alt.Chart(
            phases.with_columns(top=pl.col("lane") + 0.62, bottom=pl.col("lane") + 0.88).cast(
                {"from_ms": pl.Float64, "to_ms": pl.Float64}
            )
        )
        .mark_rect(cornerRadius=2)
        .encode(
            x=alt.X(
                "from_ms:Q",
                scale=alt.Scale(zero=True, nice=False),
                axis=alt.Axis(
                    title=None,
                    orient="top",
                    tickCount=5,
                    labelExpr=LATENCY_LABEL,
                    domain=False,
                    ticks=False,
                    gridOpacity=0.55,
                ),
            ),
            x2="to_ms",
            y=alt.Y("top:Q", scale=y_scale, axis=None),
            y2="bottom",
            color=alt.Color(
                "phase:N",
                scale=alt.Scale(domain=list(PHASE_COLOURS), range=list(PHASE_COLOURS.values())),
                legend=legend(
                    "square",
                    values=[p for p in PHASE_COLOURS if p in set(phases["phase"])],
                    orient="bottom",
                ),
            ),
            tooltip=[
                alt.Tooltip("attempt:N", title="Attempt"),
                alt.Tooltip("phase:N", title="Phase"),
                alt.Tooltip("took_text:N", title="Took"),
            ],
        )
    )
    texts = [
        alt.Chart(captions.with_columns(y=pl.col("lane") + at))
        .mark_text(align="left", baseline="middle", fontSize=12, fontWeight=weight, limit=WITHIN)
        .encode(
            x=alt.value(0),
            y=alt.Y("y:Q", scale=y_scale, axis=None),
            text=f"{column}:N",
            color=alt.value("gray"),
            opacity=alt.value(opacity),
        )
        for column, at, weight, opacity in _CAPTION_LINES
    ]
    return alt.layer(bars, *texts).properties(
        height=_LANE_HEIGHT * lanes + _AXIS_AND_LEGEND_HEIGHT, padding=PADDING
    )
