"""Spend by provider, model, key or label: over time, ranked, and every row of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboard import charts, choices, exports, numbers, picking, pieces, queries, sums, words
from dashboard.looks import OTHER_SLOT
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import spend_why
from dashboard.views.overview_cards import grown_words

_DIMENSIONS = {"provider": "Provider", "model": "Model", "key": "Key"}
_CHOSEN, _USUAL = "by", "provider"
_LABEL = "label:"
_MOST_LABELS = 3
_ROWS = 7
_UNLABELLED = "(none)"
_ROW_HEIGHT = 33
_MOST_HEIGHT = 14 * _ROW_HEIGHT


def choose_dimension() -> str:
    """Draw the switch; answers with a dimension of `sums.read_attempts_by`."""
    labels: list[str] = [
        f"{_LABEL}{name}" for name in queries.label_names(choices.read_dimensions())[:_MOST_LABELS]
    ]
    with st.container(horizontal=True, vertical_alignment="center", key="by_row"):
        st.html(pieces.heading("Spend by"))
        chosen = st.segmented_control(
            "By",
            [*_DIMENSIONS, *labels],
            # Buttons read Markdown, and the name of a label may be anybody's.
            format_func=lambda one: pieces.as_markdown(_name(one)),
            default=_USUAL,
            required=True,
            key=_CHOSEN,
            bind="query-params",
            label_visibility="collapsed",
            width="content",
        )
    return chosen or _USUAL


def reads(period: Period, only: Narrowing) -> list[Callable[[], object]]:
    """What `draw` asks for."""
    both = (period, period.before) if period.is_compared else (period,)
    return [partial(sums.read_attempts_by, _chosen(), of, only) for of in both]


def reads_of_all(period: Period, only: Narrowing) -> list[Callable[[], object]]:
    """What `draw_all` asks for."""
    return [partial(_read_all, _chosen(), period, only)] if _is_label(_chosen()) else []


def _chosen() -> str:
    return st.session_state.get(_CHOSEN) or _USUAL


def draw(dimension: str, period: Period, only: Narrowing) -> None:
    """Bars over time, and who is behind them."""
    now = sums.read_attempts_by(dimension, period, only)
    before = now.clear()
    if period.is_compared:
        before = sums.read_attempts_by(dimension, period.before, only)
    table = queries.ranked(now, before, dimension)
    shown = table["name"].head(queries.SHOWN_PROVIDERS).to_list()
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    spend = queries.spend_by_bucket(now.rename({dimension: "provider"}), starts, shown)
    left, right = st.columns([1.4, 1], gap="small")
    is_provider = dimension == "provider"
    colours = slots(shown) if is_provider else {}
    with left:
        told = (
            f"Spend over the {period.words} by {_name(dimension)}, per "
            f"{words.length(period.bucket)}"
        )
        if is_provider:
            picking.draw_pickable(
                charts.pickable(
                    charts.spend_chart(spend, colours, bucket=period.bucket, end=period.wall_end),
                    "provider",
                ),
                "provider",
                "provider",
                told,
                slot="spend-by-chart",
                others=(queries.OTHER,),
            )
        else:
            spend = spend.rename({"provider": "name", "cost_usd": "value"}).with_columns(
                pl.col("name").replace("", _UNLABELLED)
            )
            names = list(dict.fromkeys(spend["name"]))
            st.altair_chart(
                charts.ranked_chart(spend, names, bucket=period.bucket, end=period.wall_end),
                alt=told,
            )
    with right:
        columns = (
            Column(name=_name(dimension)),
            Column(name="Spend", is_number=True),
            Column(name="Change", is_number=True),
            Column(name="Attempts", is_number=True),
        )
        st.html(pieces.table(columns, _ranked_rows(table, colours, is_provider=is_provider)))
    exports.offer(
        f"Spend by {_safe(dimension)}", table.rename({"name": "group"}), f"spend-by-{dimension}"
    )


def draw_all(dimension: str, period: Period, only: Narrowing) -> None:
    """Every row of the dimension by provider, the sum of all first; with downloads."""
    other = _other(dimension)
    found = _read_all(dimension, period, only).sort(
        "cost_usd", "attempts", dimension, other, descending=[True, True, False, False]
    )
    what = f"{_name(dimension)} and {other}, {numbers.count(found.height)} of them"
    st.html(pieces.heading("All rows", what))
    # Its signature names pandas, which has no types.
    draw_frame: Any = st.dataframe  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    columns = st.column_config
    draw_frame(
        _as_shown(found, dimension, other),
        key="all_table",
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=min(_MOST_HEIGHT, (found.height + 2) * _ROW_HEIGHT + 2),
        placeholder="—",
        alt="Spend and tokens of every row",
        column_config={
            "Spend": columns.NumberColumn(format="$%.6f"),
            "Wasted": columns.NumberColumn(format="$%.6f"),
            **{
                name: columns.NumberColumn(format="localized")
                for name in ("Attempts", "Unpriced", "Input", "Cached", "Output")
            },
        },
    )
    exports.draw_downloads(found, f"spend-by-{dimension}-and-{other}")


def _other(dimension: str) -> str:
    return "model" if dimension == "provider" else "provider"


def _read_all(dimension: str, period: Period, only: Narrowing) -> pl.DataFrame:
    by = (dimension, _other(dimension))
    if _is_label(dimension):
        return sums.read_attempt_totals(by, period, only)
    return queries.summed(spend_why.read_parts(period, only), by)


def _is_label(dimension: str) -> bool:
    return dimension.startswith(_LABEL)


def _as_shown(found: pl.DataFrame, dimension: str, other: str) -> pl.DataFrame:
    # Its cells are drawn as floats: what has every digit is in the downloads.
    shown = found.select(
        pl.col(dimension).replace("", _UNLABELLED).alias(_heading(dimension)),
        pl.col(other).alias(other.capitalize()),
        Spend=pl.col("cost_usd"),
        Attempts=pl.col("attempts"),
        Unpriced=pl.col("unpriced"),
        Input=pl.col("input_tokens") + pl.col("cache_write_tokens"),
        Cached=pl.col("cache_read_tokens"),
        Output=pl.col("output_tokens") + pl.col("reasoning_tokens"),
        Wasted=pl.col("wasted_usd"),
    )
    texts = {name: pl.lit("") for name, kind in shown.schema.items() if kind == pl.String}
    texts[_heading(dimension)] = pl.lit("All rows")
    total = shown.select(
        texts[name].alias(name) if name in texts else pl.col(name).sum() for name in shown.columns
    )
    return pl.concat([total, shown], how="vertical_relaxed").with_columns(
        pl.col("Spend", "Wasted").cast(pl.Float64)
    )


def _ranked_rows(table: pl.DataFrame, colours: dict[str, int], *, is_provider: bool) -> list[Row]:
    shares = charts.shares_of_total(table["cost_usd"])
    rows = list(zip(table.iter_rows(named=True), shares, strict=True))
    shown = [
        _ranked_row(
            row,
            share,
            slot=colours.get(row["name"], OTHER_SLOT) if is_provider else 0,
        )
        for row, share in rows[:_ROWS]
    ]
    rest = rows[_ROWS:]
    if rest:
        summed = table.tail(len(rest)).select(
            pl.col("cost_usd", "before_usd", "unpriced", "attempts").sum()
        )
        shown.append(
            _ranked_row(
                {"name": f"{queries.OTHER}, {len(rest)} of them", **summed.row(0, named=True)},
                sum(share or 0.0 for _, share in rest),
                slot=OTHER_SLOT,
            )
        )
    return shown


def _ranked_row(row: dict[str, Any], share: float | None, *, slot: int) -> Row:
    return Row(
        cells=(
            Cell(text=row["name"] or _UNLABELLED, slot=slot, bar=share or 0.0, wraps=True),
            Cell(
                text=numbers.usd_sum(row["cost_usd"], is_complete=not row["unpriced"]),
                sub=numbers.share(share, decimals=0) if share is not None else "",
                hint=numbers.usd_exact(row["cost_usd"]),
            ),
            Cell(
                text=grown_words(row["cost_usd"], row["before_usd"]),
                sub=numbers.usd(row["before_usd"]),
            ),
            Cell(text=numbers.count(row["attempts"])),
        )
    )


def _name(dimension: str) -> str:
    return _DIMENSIONS.get(dimension) or dimension.removeprefix(_LABEL)


def _heading(dimension: str) -> str:
    # A label may be called as another column is.
    return _DIMENSIONS.get(dimension) or f"Label {_name(dimension)}"


def _safe(dimension: str) -> str:
    return pieces.as_markdown(_name(dimension))
