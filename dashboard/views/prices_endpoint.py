"""One endpoint: what it costs and why, what others take for the model, and changing it."""

import time
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboard import numbers, pieces, price_charts, price_words
from dashboard.admin_answers import Offered, OfferedEndpoint, PriceChanges, PriceSpan, PriceSpans
from dashboard.admin_states import admin
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import prices_change
from pricing.operator_layer import PriceChange

_COMPARED_COLUMNS = (
    Column(name="Endpoint"),
    Column(name="Input", is_number=True, hint="USD per million tokens."),
    Column(name="Output", is_number=True, hint="USD per million tokens."),
    Column(name="Cache read", is_number=True, hint="USD per million tokens."),
    Column(name="From"),
)
_LAYER_COLUMNS = (
    Column(name="Layer"),
    Column(name="Input", is_number=True),
    Column(name="Output", is_number=True),
    Column(name="Cache read", is_number=True),
    Column(name="Since"),
    Column(name="Why"),
)
_SPAN_COLUMNS = (
    Column(name="Holds"),
    Column(name="Input", is_number=True),
    Column(name="Output", is_number=True),
    Column(name="Cache read", is_number=True),
    Column(name="From"),
)
_CHANGE_COLUMNS = (
    Column(name="What"),
    Column(name="From"),
    Column(name="To"),
    Column(name="Stands"),
    Column(name="By"),
    Column(name="Why"),
)
_MOST_SPANS = 60
_SHOWN_RATES = ("input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok")
_TOP_DOWN = ("disable", "discount", "price", "endpoint")
_TONES = {"stands": "good", "to come": "warn", "ended": ""}


def render(endpoint: str, period: Period) -> None:
    """Draw the endpoint of that id."""
    spans = admin().get("/admin/catalogue/prices", PriceSpans, endpoint=endpoint)
    offers = admin().get("/admin/catalogue", Offered, model=spans.model).data
    changes = _changes(endpoint)
    offer = next((one for one in offers if one.endpoint == endpoint), None)
    with st.container(key="endpoint_head"):
        chips = [(price_words.LAYERS.get(one, one), "") for one in (offer.layers if offer else ())]
        if offer is not None and offer.is_disabled:
            chips.append((price_words.OFF, "bad"))
        if offer is not None and offer.price is None:
            chips.append((price_words.UNPRICED, "warn"))
        st.html(pieces.heading(endpoint, spans.model) + pieces.chips(chips))
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="compare", height="stretch"):
        providers = len({one.provider for one in offers})
        what = f"{spans.model} at {providers} provider{'s' * (providers != 1)}, per million tokens"
        st.html(pieces.heading("Compared", what))
        st.html(pieces.table(_COMPARED_COLUMNS, _compared(offers, endpoint)))
    with right.container(border=True, key="change", height="stretch"):
        prices_change.render(endpoint, offer, changes, period.zone)
    now = datetime.fromtimestamp(time.time(), UTC)
    with st.container(border=True, key="layers"):
        st.html(pieces.heading("Layers", f"from top to bottom, what holds now; {period.zone}"))
        st.html(pieces.table(_LAYER_COLUMNS, _layer_rows(offer, spans, changes, now, period.zone)))
    with st.container(border=True, key="history"):
        st.html(pieces.heading("History", "per million tokens; what is to come is dashed"))
        steps = price_charts.step_frame(spans.data[-_MOST_SPANS:], now, period.zone)
        if steps.is_empty():
            st.caption("Nobody knows what it costs yet.")
        else:
            st.altair_chart(
                price_charts.steps_chart(steps),
                alt=f"Prices of the endpoint over time, {len(spans.data)} in all",
            )
        if spans.data:
            st.html(pieces.table(_SPAN_COLUMNS, _span_rows(spans.data[-_MOST_SPANS:], period.zone)))
    if changes:
        with st.container(border=True, key="changes"):
            st.html(pieces.heading("Decided here", "newest first"))
            st.html(pieces.table(_CHANGE_COLUMNS, _change_rows(changes, period.zone)))


def _changes(endpoint: str) -> tuple[PriceChange, ...]:
    """Those about the endpoint and about its provider, with what revoked them; newest first."""
    everything = admin().get("/admin/prices/changes", PriceChanges).data
    provider = endpoint.partition("/")[0]
    about = {one.id for one in everything if one.target in {endpoint, provider}}
    return tuple(
        one
        for one in everything
        if one.id in about or (one.kind == "revoke" and one.target in about)
    )


def _layer_rows(
    offer: OfferedEndpoint | None,
    spans: PriceSpans,
    changes: tuple[PriceChange, ...],
    now: datetime,
    zone: str,
) -> list[Row]:
    """What holds, then each layer that makes it so, the tables last."""
    stand = price_words.standing(changes, now)
    live = [one for one in changes if stand.get(one.id) == "stands"]
    rows = [
        Row(
            cells=(
                Cell(text="what holds"),
                *(Cell(text=_rate(offer, name) if offer else "") for name in _SHOWN_RATES),
                Cell(text=""),
                Cell(text="switched off" if offer is not None and offer.is_disabled else ""),
            ),
            kind="total",
        )
    ]
    for kind in _TOP_DOWN:
        rows += [
            Row(
                cells=(
                    Cell(
                        text=price_words.kind_words(one),
                        sub=f"{'provider' if '/' not in one.target else 'endpoint'} {one.target}",
                        wraps=True,
                    ),
                    *(
                        Cell(text=_term(one.terms, name) if one.kind == "price" else "")
                        for name in _SHOWN_RATES
                    ),
                    Cell(text=numbers.when_to_minute(one.effective_from, zone)),
                    Cell(text=one.reason, sub=f"by {one.recorded_by}", wraps=True),
                )
            )
            for one in live
            if one.kind == kind
        ]
    rows += [
        Row(
            cells=(
                Cell(text="tables", sub=price_words.terms_note(span.terms), wraps=True),
                *(Cell(text=_term(span.terms, name)) for name in _SHOWN_RATES),
                Cell(text=_since(span, zone)),
                Cell(text=span.source or "", sub=_checked(span), wraps=True),
            )
        )
        for span in spans.tables
        if price_words.holds_at(span, now)
    ]
    return rows


def _term(terms: dict[str, Any] | None, name: str) -> str:
    return numbers.usd_per_mtok(price_words.rate_of(terms or {}, name))


def _since(span: PriceSpan, zone: str) -> str:
    begins = span.effective_from
    return "always" if begins is None else numbers.when_to_minute(begins, zone)


def _checked(span: PriceSpan) -> str:
    return f"checked {span.checked_on:%-d %b %Y}" if span.checked_on else ""


def _compared(offers: tuple[OfferedEndpoint, ...], chosen: str) -> list[Row]:
    colours = slots({one.provider for one in offers})
    priced = [one for one in offers if one.price is not None]
    rest = [one for one in offers if one.price is None]

    def total(offer: OfferedEndpoint) -> tuple[bool, object]:
        price = offer.price
        given = None if price is None else price.input_usd_per_mtok
        return (given is None, given)

    return [
        Row(
            cells=(
                Cell(
                    text=one.endpoint,
                    slot=colours[one.provider],
                    sub="switched off" if one.is_disabled else "",
                    wraps=True,
                ),
                Cell(text=_rate(one, "input_usd_per_mtok")),
                Cell(text=_rate(one, "output_usd_per_mtok")),
                Cell(text=_rate(one, "cache_read_usd_per_mtok")),
                Cell(text=price_words.layer_words(one.layers)),
            ),
            kind="total" if one.endpoint == chosen else "",
        )
        for one in (*sorted(priced, key=total), *rest)
    ]


def _rate(offer: OfferedEndpoint, name: str) -> str:
    return numbers.usd_per_mtok(None if offer.price is None else getattr(offer.price, name))


def _span_rows(spans: tuple[PriceSpan, ...], zone: str) -> list[Row]:
    now = datetime.fromtimestamp(time.time(), UTC)
    rows: list[Row] = []
    for span in reversed(spans):
        begins, ends = span.effective_from, span.effective_to
        holds = price_words.holds_at(span, now)
        layers = price_words.layer_words(span.layers)
        checked = f", {_checked(span)}" if span.checked_on else ""
        rows.append(
            Row(
                cells=(
                    Cell(
                        text=_span_words(begins, ends, zone),
                        sub=price_words.terms_note(span.terms),
                        tone="good" if holds else "",
                        wraps=True,
                    ),
                    *(
                        Cell(text=numbers.usd_per_mtok(price_words.rate_of(span.terms, name)))
                        for name in _SHOWN_RATES
                    ),
                    Cell(text=layers, sub=f"{span.source or span.version}{checked}", wraps=True),
                ),
                kind="" if holds else "quiet",
            )
        )
    return rows


def _span_words(begins: datetime | None, ends: datetime | None, zone: str) -> str:
    since = None if begins is None else numbers.when_to_minute(begins, zone)
    until = None if ends is None else numbers.when_to_minute(ends, zone)
    if since is None:
        return "always" if until is None else f"until {until}"
    return f"from {since}" if until is None else f"{since} to {until}"


def _change_rows(changes: tuple[PriceChange, ...], zone: str) -> list[Row]:
    stand = price_words.standing(changes, datetime.fromtimestamp(time.time(), UTC))
    rows: list[Row] = []
    for one in changes:
        state = stand.get(one.id, "" if one.kind == "revoke" else "revoked")
        ends = one.effective_to
        rows.append(
            Row(
                cells=(
                    Cell(
                        text=price_words.kind_words(one),
                        sub=f"change {one.id}, {one.target}",
                        wraps=True,
                    ),
                    Cell(text=numbers.when_to_minute(one.effective_from, zone)),
                    Cell(text="" if ends is None else numbers.when_to_minute(ends, zone)),
                    Cell(text=state, tone=_TONES.get(state, ""), is_chip=bool(state)),
                    Cell(text=one.recorded_by, sub=numbers.when_to_minute(one.recorded_at, zone)),
                    Cell(text=one.reason, wraps=True),
                ),
                kind="" if state in {"stands", "to come"} else "quiet",
            )
        )
    return rows
