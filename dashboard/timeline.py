"""From changes of health to bars on a timeline: frames in, frames out. Pure."""

import polars as pl

from dashboard.periods import Period

OPEN, HALF_OPEN, COOLING = "open", "half-open", "cool-down"
STATES = (OPEN, HALF_OPEN, COOLING)
"""From the worst on."""
MOST_LANES = 12

_UNHEARD_S = 15 * 60
"""Nobody is half-open for longer without a change: the gateway was started anew."""
_SMALLEST, _APART = 400, 250
"""Of the period: what is drawn at least, and what is drawn as one."""
_OF_BREAKER = ("node", "level", "provider", "endpoint", "credential")
_WHOSE = (*_OF_BREAKER, "reason")


def intervals(events: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Who was how when: ``lane``, ``state``, ``from_at``, ``to_at``, ``reason``, ``node``.

    An opening lasts until its time is up, or until another change. Then it is half-open until the
    next change. All of it is cut to the period.

    Args:
        events: `reliability_sums.HEALTH`.
        period: what is looked at; nothing is known of what comes after it.
    """
    is_rest = pl.col("state") == "cooling"
    unheard = pl.duration(seconds=_UNHEARD_S)
    changes = events.filter(~is_rest).with_columns(
        next_at=pl.col("at").shift(-1).over(_OF_BREAKER, order_by="at")
    )
    ends = pl.min_horizontal("next_at", "until")
    opened = changes.filter(pl.col("state") == "open").select(
        *_WHOSE, state=pl.lit(OPEN), from_at="at", to_at=ends
    )
    waiting = changes.filter(
        pl.col("state") == "open",
        pl.col("until") < pl.col("next_at").fill_null(pl.lit(period.end)),
    ).select(
        *_WHOSE,
        state=pl.lit(HALF_OPEN),
        from_at="until",
        to_at=pl.min_horizontal("next_at", pl.col("until") + unheard),
    )
    probed = changes.filter(pl.col("state") == "half_open").select(
        *_WHOSE,
        state=pl.lit(HALF_OPEN),
        from_at="at",
        to_at=pl.min_horizontal("next_at", pl.col("at") + unheard),
    )
    rests = events.filter(is_rest).select(
        *_WHOSE, state=pl.lit(COOLING), from_at="at", to_at="until"
    )
    start, end = pl.lit(period.start), pl.lit(period.end)
    return (
        pl.concat([opened, waiting, probed, rests])
        .with_columns(pl.max_horizontal("from_at", start), pl.min_horizontal("to_at", end))
        .filter(pl.col("from_at") < pl.col("to_at"))
        .with_columns(_lane().alias("lane"))
        .sort("lane", "state", "from_at")
    )


def worst_lanes(found: pl.DataFrame) -> list[str]:
    """Lanes by how long they were open, half-open and resting, the worst first."""
    length = (pl.col("to_at") - pl.col("from_at")).dt.total_milliseconds()
    sums = {state: length.filter(pl.col("state") == state).sum() for state in STATES}
    return (
        found.group_by("lane")
        .agg(**sums)
        .sort(*STATES, "lane", descending=[True, True, True, False])["lane"]
        .to_list()
    )


def bars(found: pl.DataFrame, lanes: list[str], period: Period) -> pl.DataFrame:
    """What is drawn of the lanes: neighbours of one state as one bar, none too narrow to be seen.

    Returns:
        The columns of `intervals` by lane and state, with ``place`` (of the lane), ``times`` (how
        many are in it), ``lasted_ms`` (all of them), ``reasons``, ``nodes`` and ``shown_to``.
    """
    length = period.end - period.start
    apart, smallest = length / _APART, length / _SMALLEST
    keys = ("lane", "state")
    places = {lane: place for place, lane in enumerate(lanes)}
    reached = pl.col("to_at").cum_max().shift(1).over(keys)
    begins = reached.is_null() | (pl.col("from_at") > reached + pl.lit(apart))
    return (
        found.filter(pl.col("lane").is_in(lanes))
        .sort(*keys, "from_at")
        .with_columns(bar=begins.cum_sum().over(keys))
        .group_by(*keys, "bar", maintain_order=True)
        .agg(
            pl.col("from_at").min(),
            pl.col("to_at").max(),
            times=pl.len(),
            lasted_ms=(pl.col("to_at") - pl.col("from_at")).dt.total_milliseconds().sum(),
            reasons=pl.col("reason").drop_nulls().unique(maintain_order=True).str.join(", "),
            nodes=pl.col("node").unique(maintain_order=True).str.join(", "),
        )
        .with_columns(
            shown_to=pl.max_horizontal("to_at", pl.col("from_at") + pl.lit(smallest)),
            place=pl.col("lane").replace_strict(places).cast(pl.Int64),
        )
        # The worst is drawn last, so that nothing hides it.
        .sort(
            pl.col("state").replace_strict(
                {state: -rank for rank, state in enumerate(STATES)}, return_dtype=pl.Int64
            ),
            "place",
            "from_at",
        )
    )


def _lane() -> pl.Expr:
    """Whose bars stand in one row, in words."""
    number = (pl.col("credential") + 1).cast(pl.String)
    return (
        pl.when(pl.col("level") == "credential")
        .then(pl.col("provider") + " · credential " + number)
        .when(pl.col("endpoint").is_null())
        .then(pl.col("provider") + " · all models")
        .otherwise(pl.col("endpoint"))
    )
