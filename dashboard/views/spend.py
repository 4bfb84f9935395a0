"""Spend: where the money goes, why it changed, and what of it was wasted."""

from decimal import Decimal
from typing import Any

import polars as pl
import streamlit as st

from dashboard import charts, effects, exports, numbers, pieces, queries, states, sums, words
from dashboard.filters import chosen_narrowing
from dashboard.looks import OTHER_SLOT
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Card, Cell, Column, Row

_DIMENSIONS = {"provider": "Provider", "model": "Model", "key": "Key"}
_LABEL = "label:"
_MOST_LABELS = 3
_ROWS = 8
_THOUSAND = 1_000
_UNLABELLED = "(none)"

_WASTE_COLUMNS = (
    Column(name="Provider"),
    Column(name="Because"),
    Column(name="Attempts", is_number=True),
    Column(name="Cost", is_number=True),
)
_METER_WORDS = {
    "input": "input, uncached",
    "cache_read": "cache read",
    "cache_write": "cache write",
    "output": "output",
    "reasoning": "reasoning",
}


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    now = sums.read_attempts_by("provider", period, only)
    if now.is_empty():
        states.show_empty(period)
        return
    before = sums.read_attempts_by("provider", period.before, only)
    requests = queries.total_traffic(sums.read_traffic(period, only))
    past_requests = queries.total_traffic(sums.read_traffic(period.before, only))
    st.html(pieces.cards(_cards(now, before, requests, past_requests)))

    with st.container(border=True, key="spend"):
        dimension = _choose_dimension()
        _draw_dimension(dimension, period, only)
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="cumulative", height="stretch"):
        legend = (("this period", ""), ("the one before, dashed", ""))
        st.html(pieces.heading("Cumulative", " and ".join(text for text, _ in legend)))
        st.altair_chart(
            charts.cumulative_chart(queries.cumulative(now, before, period), bucket=period.bucket),
            alt="Spend added up over the period, beside the period before",
        )
    with right.container(border=True, key="why", height="stretch"):
        st.html(pieces.heading("Why it changed", "against the period before"))
        _draw_change(period, only)
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="meters", height="stretch"):
        st.html(pieces.heading("Tokens by meter", f"per {words.length(period.bucket)}"))
        starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
        st.altair_chart(
            charts.ranked_chart(
                queries.tokens_by_meter(now, starts, _METER_WORDS),
                list(_METER_WORDS.values()),
                bucket=period.bucket,
                end=period.wall_end,
                is_money=False,
            ),
            alt="Tokens over time by what they were metered as",
        )
    with right.container(border=True, key="waste", height="stretch"):
        st.html(pieces.heading("Waste", "what failed attempts cost"))
        _draw_waste(period, only)


def _cards(
    now: pl.DataFrame, before: pl.DataFrame, requests: queries.Traffic, past: queries.Traffic
) -> list[Card]:
    money, money_before = queries.spend_of(now), queries.spend_of(before)
    wasted = queries.total_usd(now, "wasted_usd")
    output = int((now["output_tokens"] + now["reasoning_tokens"]).sum())
    output_before = int((before["output_tokens"] + before["reasoning_tokens"]).sum())
    per_request = queries.per(money.known_usd, requests.requests)
    per_output = queries.per(money.known_usd, output, _THOUSAND)
    total = money.known_usd
    return [
        Card(
            label="Spend",
            value=numbers.usd_sum(total, is_complete=money.is_complete),
            change=numbers.change(queries.grown(total, money_before.known_usd)),
            note=_priced(money),
            hint=numbers.usd_exact(total),
        ),
        Card(
            label="Per request",
            value=numbers.usd_sum(per_request, is_complete=money.is_complete),
            change=numbers.change(
                queries.grown(per_request, queries.per(money_before.known_usd, past.requests))
            ),
            note=f"{numbers.count(requests.requests)} requests",
        ),
        Card(
            label="Per 1,000 output tokens",
            value=numbers.usd_sum(per_output, is_complete=money.is_complete),
            change=numbers.change(
                queries.grown(
                    per_output, queries.per(money_before.known_usd, output_before, _THOUSAND)
                )
            ),
            note=f"{numbers.count(output)} output tokens",
        ),
        Card(
            label="Wasted on failed attempts",
            value=numbers.usd(wasted),
            change=numbers.change(queries.grown(wasted, queries.total_usd(before, "wasted_usd"))),
            note=f"{numbers.share(queries.usd_share(wasted, total))} of spend",
            hint=numbers.usd_exact(wasted),
        ),
        Card(
            label="Without a known price",
            value=numbers.count(money.unpriced),
            note=f"of {numbers.count(money.billable)} billed attempts",
        ),
    ]


def _choose_dimension() -> str:
    labels: list[str] = [
        f"{_LABEL}{name}" for name in queries.label_names(sums.read_dimensions())[:_MOST_LABELS]
    ]
    with st.container(horizontal=True, vertical_alignment="center", key="by_row"):
        st.html(pieces.heading("Spend by"))
        chosen = st.segmented_control(
            "By",
            [*_DIMENSIONS, *labels],
            format_func=_as_markdown,
            default="provider",
            required=True,
            key="by",
            bind="query-params",
            label_visibility="collapsed",
            width="content",
        )
    return chosen or "provider"


def _dimension_name(dimension: str) -> str:
    return _DIMENSIONS.get(dimension) or dimension.removeprefix(_LABEL)


def _as_markdown(dimension: str) -> str:
    return pieces.as_markdown(_dimension_name(dimension))


def _draw_dimension(dimension: str, period: Period, only: Narrowing) -> None:
    now = sums.read_attempts_by(dimension, period, only)
    before = sums.read_attempts_by(dimension, period.before, only)
    table = queries.ranked(now, before, dimension)
    shown = table["name"].head(queries.SHOWN_PROVIDERS).to_list()
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    spend = queries.spend_by_bucket(now.rename({dimension: "provider"}), starts, shown)
    left, right = st.columns([1.4, 1], gap="small")
    is_provider = dimension == "provider"
    colours = slots(shown) if is_provider else {}
    with left:
        if is_provider:
            chart: charts.AnyChart = charts.spend_chart(
                spend, colours, bucket=period.bucket, end=period.wall_end
            )
        else:
            spend = spend.rename({"provider": "name", "cost_usd": "value"}).with_columns(
                pl.col("name").replace("", _UNLABELLED)
            )
            names = list(dict.fromkeys(spend["name"]))
            chart = charts.ranked_chart(spend, names, bucket=period.bucket, end=period.wall_end)
        st.altair_chart(chart, alt=f"Spend over the {period.words} by {dimension}")
    with right:
        title = _dimension_name(dimension)
        columns = (
            Column(name=title),
            Column(name="Spend", is_number=True),
            Column(name="Change", is_number=True),
            Column(name="Attempts", is_number=True),
        )
        st.html(pieces.table(columns, _ranked_rows(table, colours, is_provider=is_provider)))
        exports.draw_downloads(table.rename({"name": dimension}), f"spend-by-{dimension}")


def _ranked_rows(table: pl.DataFrame, colours: dict[str, int], *, is_provider: bool) -> list[Row]:
    shares = charts.shares_of_total(table["cost_usd"])
    rows = zip(table.head(_ROWS).iter_rows(named=True), shares, strict=False)
    return [
        Row(
            cells=(
                Cell(
                    text=row["name"] or _UNLABELLED,
                    slot=colours.get(row["name"], OTHER_SLOT) if is_provider else 0,
                    bar=share or 0.0,
                    wraps=True,
                ),
                Cell(
                    text=numbers.usd_sum(row["cost_usd"], is_complete=not row["unpriced"]),
                    sub=numbers.share(share, decimals=0) if share is not None else "",
                    hint=numbers.usd_exact(row["cost_usd"]),
                ),
                Cell(
                    text=numbers.change(queries.grown(row["cost_usd"], row["before_usd"]))
                    or numbers.UNKNOWN,
                    sub=numbers.usd(row["before_usd"]),
                ),
                Cell(text=numbers.count(row["attempts"])),
            )
        )
        for row, share in rows
    ]


def _draw_change(period: Period, only: Narrowing) -> None:
    by = ("endpoint", "outcome")
    change = effects.explain(
        sums.read_attempt_totals(by, period, only).iter_rows(named=True),
        sums.read_attempt_totals(by, period.before, only).iter_rows(named=True),
    )
    if change is None:
        st.caption("There is nothing in the period before to compare with.")
        return
    st.altair_chart(
        charts.bridge_chart(_bridge(change)),
        alt="What was spent before, what is spent now, and the effects between them",
    )
    st.caption(
        "Volume: more or fewer served attempts. Mix: other endpoints. Size: longer prompts and "
        "answers. Cache: more or less of the prompt from cache. Waste: failed attempts. "
        "Attempts without a known price are left out."
    )


def _bridge(change: effects.Change) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [_sum_row("Before", change.before_usd)]
    at = change.before_usd
    for name, effect in change.effects.items():
        rows.append(
            {
                "name": name.capitalize(),
                "from_usd": at,
                "to_usd": at + effect,
                "label": numbers.usd_change(effect),
                "kind": "less" if effect < 0 else "more",
            }
        )
        at += effect
    rows.append(_sum_row("Now", change.now_usd))
    return pl.DataFrame(
        rows,
        schema={
            "name": pl.String,
            "from_usd": pl.Decimal(38, 12),
            "to_usd": pl.Decimal(38, 12),
            "label": pl.String,
            "kind": pl.String,
        },
    )


def _sum_row(name: str, amount: Decimal) -> dict[str, Any]:
    return {
        "name": name,
        "from_usd": amount,
        "to_usd": amount,
        "label": numbers.usd(amount),
        "kind": "sum",
    }


def _draw_waste(period: Period, only: Narrowing) -> None:
    found = sums.read_attempt_totals(("provider", "outcome"), period, only)
    wasted = queries.waste(found).head(_ROWS)
    if wasted.is_empty():
        st.caption(f"No failed attempt cost anything in the {period.words}.")
        return
    rows = [
        Row(
            cells=(
                Cell(text=row["provider"]),
                Cell(text=words.outcome(row["outcome"])),
                Cell(text=numbers.count(row["attempts"])),
                Cell(
                    text=numbers.usd_sum(row["cost_usd"], is_complete=not row["unpriced"]),
                    hint=numbers.usd_exact(row["cost_usd"]),
                ),
            )
        )
        for row in wasted.iter_rows(named=True)
    ]
    st.html(pieces.table(_WASTE_COLUMNS, rows))


def _priced(money: queries.Spend) -> str:
    if money.priced_share is None:
        return "nothing was billed"
    return f"{numbers.share(money.priced_share)} priced"
