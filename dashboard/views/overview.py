"""Overview: what was spent, how it went, and which provider is behind it."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboard import (
    ahead,
    charts,
    choices,
    exports,
    latency_sums,
    numbers,
    picking,
    pieces,
    queries,
    states,
    sums,
    words,
)
from dashboard.filters import chosen_narrowing
from dashboard.looks import OTHER_SLOT
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import overview_notices
from dashboard.views.overview_cards import NOTHING, Figures, cards, grown_words

NO_LATENCY = (
    "Latency is kept by provider and model, and by key for whole hours; not by label, rules or "
    "outcome."
)

_COLUMNS = (
    Column(name="Provider"),
    Column(name="Spend", is_number=True, hint="Of every attempt, failed ones included."),
    Column(name="Change", is_number=True, hint="Of spend, against the period before."),
    Column(name="p95", is_number=True, hint="Of successful attempts; below: p50."),
    Column(
        name="Fell back",
        is_number=True,
        hint="Of the requests tried here first, those that another provider answered.",
    ),
    Column(
        name="Success",
        is_number=True,
        hint="Of attempts, without those that the caller gave up; below: attempts.",
    ),
)
_KEY, _PROVIDER, _LABEL = "key", "provider", "label:"
_CHOSEN = "most"
_USUAL_LABEL = f"{_LABEL}team"
_UNLABELLED = "(none)"
_SHOWN_CHANGES = 4
_WORRYING_FALLBACK, _WORRYING_SUCCESS = 0.05, 0.95
_ENOUGH = 20


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    with ahead.reading(*_reads(period, only)):
        _draw(period, only)


def _reads(period: Period, only: Narrowing) -> list[Callable[[], object]]:
    both = (period, period.before) if period.is_compared else (period,)
    reads: list[Callable[[], object]] = [
        *(partial(_read_traffic, of, only) for of in both),
        *(partial(sums.read_providers, of, only) for of in both),
    ]
    if period.is_compared:
        by = st.session_state.get(_CHOSEN) or _dimensions()[0]
        reads += [partial(_read_changes, by, of, only) for of in both]
    return reads


def _draw(period: Period, only: Narrowing) -> None:
    traffic, providers = _read_traffic(period, only), sums.read_providers(period, only)
    totals = queries.total_traffic(traffic)
    if totals.requests == 0 and providers.is_empty():
        states.show_empty(period)
        return
    before = sums.read_providers(period.before, only) if period.is_compared else providers.clear()
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    by_bucket = queries.filled_traffic(traffic, starts)
    table = queries.provider_table(providers)
    shown = table["provider"].head(queries.SHOWN_PROVIDERS).to_list()
    spend = queries.spend_by_bucket(providers, starts, shown)
    colours = slots(shown)
    money = queries.total_spend(providers)
    past = NOTHING
    if period.is_compared:
        past = Figures(
            traffic=queries.total_traffic(_read_traffic(period.before, only)),
            money=queries.total_spend(before),
        )

    st.html(pieces.cards(cards(Figures(traffic=totals, money=money), past, by_bucket, spend)))
    left, right = st.columns([1.55, 1], gap="small")
    with left.container(border=True, key="spend", height="stretch"):
        what = f"per {words.length(period.bucket)}, {period.zone}"
        st.html(pieces.heading("Spend by provider", what))
        chart = charts.spend_chart(spend, colours, bucket=period.bucket, end=period.wall_end)
        picking.draw_pickable(
            charts.pickable(chart, "provider"),
            "provider",
            "provider",
            f"Spend by provider over the {period.words}",
            slot="spend-chart",
            others=(queries.OTHER,),
        )
    with right.container(border=True, key="providers", height="stretch"):
        st.html(pieces.heading("Providers", period.words))
        st.html(pieces.table(_COLUMNS, _provider_rows(table, before, colours)))
    left, middle, right = st.columns(3, gap="small")
    with left.container(border=True, key="changes", height="stretch"):
        _draw_changes(period, only)
    with middle.container(border=True, key="latency", height="stretch"):
        _draw_latency(by_bucket, period, only)
    with right.container(border=True, key="outcomes", height="stretch"):
        st.html(pieces.heading("Requests", legend=words.OUTCOME_LEGEND))
        st.altair_chart(
            charts.outcomes_chart(
                queries.outcomes_by_bucket(by_bucket),
                bucket=period.bucket,
                end=period.wall_end,
                height=charts.SECONDARY_HEIGHT,
            ),
            alt="Requests over time by what became of them",
        )
    overview_notices.render(money, period.end, period.zone)
    exports.offer("Providers", table, "providers")
    exports.offer("Requests over time", by_bucket, "requests-over-time")


def _read_traffic(period: Period, only: Narrowing) -> pl.DataFrame:
    """`schemas.TRAFFIC`, with the percentiles of keys where a key is chosen."""
    traffic = sums.read_traffic(period, only)
    if latency_sums.knows_keys(only):
        return latency_sums.with_percentiles(traffic, period, only)
    return traffic


def _draw_latency(by_bucket: pl.DataFrame, period: Period, only: Narrowing) -> None:
    is_by_key = latency_sums.knows_keys(only)
    by_hour = ", by the hour" if is_by_key else ""
    st.html(pieces.heading("Latency", f"p50 to p95 of successful requests{by_hour}"))
    if not (only.has_latency or is_by_key):
        st.caption(NO_LATENCY)
        return
    bands, bucket = latency_sums.bands(period, only) if is_by_key else (by_bucket, period.bucket)
    st.altair_chart(
        charts.latency_chart(bands, bucket=bucket),
        alt="Latency of successful requests over time, from p50 to p95",
    )


def _draw_changes(period: Period, only: Narrowing) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="most_row"):
        st.html(pieces.heading("What changed most", "spend"))
        by = _choose_dimension()
    if not period.is_compared:
        st.caption("Comparison with the period before is switched off under Filters.")
        return
    now, before = (_read_changes(by, of, only) for of in (period, period.before))
    found = queries.changes(now, before, (by, "model"), _SHOWN_CHANGES)
    if found.is_empty():
        st.caption("Nothing changed against the period before.")
        return
    rows = [
        Row(
            cells=(
                Cell(text=row[by] or _UNLABELLED, sub=row["model"], wraps=True),
                Cell(
                    text=numbers.usd_change(row["change_usd"]),
                    sub=f"{numbers.usd(row['before_usd'])} → {numbers.usd(row['now_usd'])}",
                    hint=numbers.usd_exact(row["change_usd"]),
                ),
            )
        )
        for row in found.iter_rows(named=True)
    ]
    name = by.removeprefix(_LABEL).capitalize()
    columns = (Column(name=f"{name} and model"), Column(name="Change", is_number=True))
    st.html(pieces.table(columns, rows))


def _read_changes(by: str, period: Period, only: Narrowing) -> pl.DataFrame:
    return sums.read_costs((by, "model"), period, only)


def _dimensions() -> list[str]:
    """What changes are told by: a label where there is one, key or provider."""
    names = [f"{_LABEL}{name}" for name in queries.label_names(choices.read_dimensions())]
    label = _USUAL_LABEL if _USUAL_LABEL in names else names[0] if names else None
    return [*([label] if label else []), _KEY, _PROVIDER]


def _choose_dimension() -> str:
    options = _dimensions()
    chosen = st.segmented_control(
        "By",
        options,
        format_func=lambda by: pieces.as_markdown(by.removeprefix(_LABEL)),
        default=options[0],
        required=True,
        key=_CHOSEN,
        label_visibility="collapsed",
        width="content",
    )
    return chosen or options[0]


def _provider_rows(table: pl.DataFrame, before: pl.DataFrame, colours: dict[str, int]) -> list[Row]:
    shares = charts.shares_of_total(table["cost_usd"])
    whole = before.filter(pl.col("bucket").is_null())
    spent_before: dict[str, Decimal] = dict(zip(whole["provider"], whole["cost_usd"], strict=True))
    return [
        _provider_row(
            row, spent_before.get(row["provider"]), colours.get(row["provider"], OTHER_SLOT), share
        )
        for row, share in zip(table.iter_rows(named=True), shares, strict=True)
    ]


def _provider_row(
    row: dict[str, Any], before_usd: Decimal | None, slot: int, spend_share: float | None
) -> Row:
    fallback, success = row["fallback_rate"], row["success_rate"]
    is_enough = row["attempts"] >= _ENOUGH
    return Row(
        cells=(
            Cell(text=row["provider"], slot=slot, bar=spend_share or 0.0),
            Cell(
                text=numbers.usd_sum(row["cost_usd"], is_complete=row["unpriced"] == 0),
                sub=numbers.share(spend_share, decimals=0) if spend_share is not None else "",
                hint=numbers.usd_exact(row["cost_usd"]),
            ),
            Cell(
                text=grown_words(row["cost_usd"], before_usd),
                hint=f"from {numbers.usd(before_usd)}",
            ),
            Cell(text=numbers.duration(row["p95_ms"]), sub=numbers.duration(row["p50_ms"])),
            Cell(
                text=numbers.share(fallback),
                tone="bad" if is_enough and (fallback or 0) > _WORRYING_FALLBACK else "",
                hint=f"{row['served_elsewhere'] or 0} of {row['first_tried'] or 0} requests",
            ),
            Cell(
                text=numbers.share(success),
                sub=numbers.count(row["attempts"]),
                tone="bad" if is_enough and (success or 1) < _WORRYING_SUCCESS else "",
                hint=f"{row['succeeded']} of {row['judged']} attempts",
            ),
        )
    )
