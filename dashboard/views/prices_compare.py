"""One model at every provider: their prices, and what a usual request costs at each."""

import time
from datetime import UTC, datetime
from typing import Any

import polars as pl
import streamlit as st

from dashboard import numbers, operator_source, pieces, price_charts, price_words
from dashboard.admin_answers import Offered, OfferedEndpoint
from dashboard.admin_states import admin
from dashboard.palette import slots
from dashboard.periods import make_period
from dashboard.pieces import Cell, Column, Row
from dashboard.usual_request import (
    REQUESTS,
    UsualRequest,
    request_words,
    times_cheapest,
    usual_cost,
    usual_request,
)
from dashboard.views import prices_catalogue
from pricing.price import Price

_MODEL = "compare"
_MOST_ROWS = 30
_DOUBTS = {"upper_bound": "at most", "estimated": "about"}

_COLUMNS = (
    Column(name="Endpoint"),
    Column(name="Input", is_number=True, hint="USD per million tokens."),
    Column(name="Cache read", is_number=True, hint="USD per million tokens."),
    Column(name="Output", is_number=True, hint="USD per million tokens."),
    Column(
        name=f"{REQUESTS:,} usual requests",
        is_number=True,
        hint="By the tokens of the last 7 days, at the price that holds now.",
    ),
    Column(name="Against the cheapest", is_number=True),
    Column(name="From"),
)


def render() -> None:
    """Draw the choice of a model and, once made, its offers."""
    week = make_period("7d", now=datetime.fromtimestamp(time.time(), UTC), zone="UTC")
    mix = operator_source.read_token_mix(week.start, week.end)
    with st.container(border=True, key="compared"):
        head = st.container(key="compared_head")
        model = st.selectbox(
            "Model",
            _models(mix),
            index=None,
            key=_MODEL,
            bind="query-params",
            accept_new_options=True,
            placeholder="Choose a model, or type its name",
            label_visibility="collapsed",
            width=420,
        )
        if not model:
            head.html(pieces.heading("Compare", "one model at every provider that offers it"))
            st.caption("Those that answered in the last 7 days come first, the busiest on top.")
            return
        request, is_own = _usual(mix, model)
        offers = admin().get(
            "/admin/catalogue",
            Offered,
            model=model,
            prompt_tokens=request.prompt_tokens if request else 0,
        )
        count = offers.total
        what = f"{count} endpoint{'s' * (count != 1)}, per million tokens"
        head.html(pieces.heading("Compare", what))
        if not offers.data:
            st.text(f"No endpoint here offers {model}. The catalogue lists what there is.")
            return
        _render_offers(offers.data, request, is_own=is_own)


def _models(mix: pl.DataFrame) -> list[str]:
    busy: list[str] = mix["model"].to_list()
    offered = {one.model for one in admin().get("/admin/catalogue", Offered).data}
    return [*busy, *sorted(offered.difference(busy))]


def _usual(mix: pl.DataFrame, model: str) -> tuple[UsualRequest | None, bool]:
    """The model's own usual request, else that of all models; and whether it is its own."""
    own = mix.filter(pl.col("model") == model)
    found = None if own.is_empty() else usual_request(own.row(0, named=True))
    if found is not None:
        return found, True
    everything: dict[str, Any] = mix.drop("model").sum().row(0, named=True)
    return usual_request(everything), False


def _render_offers(
    offers: tuple[OfferedEndpoint, ...], request: UsualRequest | None, *, is_own: bool
) -> None:
    costs = [None if request is None else usual_cost(request, one.price) for one in offers]
    ranked = sorted(
        zip(offers, costs, strict=True),
        key=lambda pair: (
            pair[1] is None or pair[1].total_usd is None,
            0 if pair[1] is None or pair[1].total_usd is None else pair[1].total_usd,
            _input_of(pair[0].price),
            pair[0].endpoint,
        ),
    )[:_MOST_ROWS]
    colours = slots({one.provider for one, _ in ranked})
    if request is not None:
        whose = "this model's" if is_own else "all models'"
        words = f"{request_words(request)}: the mean of {whose} {numbers.count(request.seen)}"
        st.html(pieces.heading("Your usual request", f"{words} answers of the last 7 days"))
    else:
        st.caption("Nothing was answered in the last 7 days: prices alone can be compared.")
    left, right = st.columns([1, 1.6], gap="medium")
    frame = pl.DataFrame(
        [
            {
                "endpoint": one.endpoint,
                "provider": one.provider,
                "input_usd": None if one.price is None else one.price.input_usd_per_mtok,
                "cache_read_usd": None if one.price is None else one.price.cache_read_usd_per_mtok,
                "output_usd": None if one.price is None else one.price.output_usd_per_mtok,
            }
            for one, _ in ranked
        ],
        schema=price_charts.COMPARED,
    )
    with left, st.container(key="dots"):
        if frame.drop_nulls(["input_usd", "output_usd"]).is_empty():
            st.caption("No price of it is known.")
        else:
            st.html(
                '<div class="tw-note">hollow: input, filled: output, USD per million tokens</div>'
            )
            st.altair_chart(
                price_charts.dots_chart(frame, colours),
                alt="Input and output price of each endpoint, on a logarithmic axis",
            )
    with right:
        totals = [None if cost is None else cost.total_usd for _, cost in ranked]
        times = times_cheapest(totals)
        rows = [
            Row(
                cells=(
                    Cell(
                        text=one.endpoint,
                        slot=colours[one.provider],
                        sub=_note(one),
                        wraps=True,
                    ),
                    Cell(text=_rate(one.price, "input_usd_per_mtok")),
                    Cell(text=_rate(one.price, "cache_read_usd_per_mtok")),
                    Cell(text=_rate(one.price, "output_usd_per_mtok")),
                    Cell(
                        text=numbers.usd(total),
                        sub="" if cost is None else _DOUBTS.get(cost.status, ""),
                    ),
                    Cell(text=dearer or ("cheapest" if total is not None else "")),
                    Cell(text=price_words.layer_words(one.layers)),
                ),
                kind="quiet" if one.is_disabled else "",
            )
            for (one, cost), total, dearer in zip(ranked, totals, times, strict=True)
        ]
        st.html(pieces.table(_COLUMNS, rows))
        if len(offers) > len(ranked):
            st.caption(f"and {len(offers) - len(ranked)} more, dearer ones")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox(
                "Open one",
                [one.endpoint for one, _ in ranked],
                index=None,
                key="compared_endpoint",
                placeholder="Open an endpoint",
                label_visibility="collapsed",
                width=320,
            )
            st.button(
                "Open",
                key="open_compared",
                disabled=chosen is None,
                on_click=prices_catalogue.open_endpoint,
                args=(chosen or "",),
            )


def _note(one: OfferedEndpoint) -> str:
    parts = ("switched off" if one.is_disabled else "", "with conditions" * one.has_conditions)
    return ", ".join(filter(None, parts))


def _rate(price: Price | None, name: str) -> str:
    return numbers.usd_per_mtok(None if price is None else getattr(price, name))


def _input_of(price: Price | None) -> tuple[bool, object]:
    known = None if price is None else price.input_usd_per_mtok
    return (known is None, known)
