"""What the last week would have cost under a change: asked of the gateway, followed, shown."""

import msgspec
import streamlit as st

from dashboard import job_panel, numbers, pieces
from dashboard.admin_answers import PreviewedEndpoint, PricePreview
from dashboard.admin_states import lacks
from dashboard.pieces import Cell, Column, Row
from pricing.deciding import PriceWish

_SLOT = "price_preview"
_KINDS = frozenset({"price", "discount", "revoke"})
"""Whose effect on what was spent can be told: where traffic would have gone instead cannot."""
_MOST_ROWS = 12

_COLUMNS = (
    Column(name="Endpoint"),
    Column(name="Attempts", is_number=True),
    Column(name="Was", is_number=True),
    Column(name="Would be", is_number=True),
    Column(name="Difference", is_number=True),
)
_KEPT = {
    "reported": "whose provider told its own cost",
    "unmetered": "without any usage",
    "unknown_endpoint": "of endpoints that are gone",
    "unpriced": "without a known price",
}


def begin(wish: PriceWish) -> None:
    """Ask what the last seven days would have cost."""
    if wish.kind not in _KINDS or lacks("operator") is not None:
        job_panel.forget(_SLOT)
        return
    body = {"change": msgspec.structs.replace(wish, effective_from=None, effective_to=None)}
    job_panel.begin(_SLOT, "/admin/prices/preview", body, about=_about(wish))


def forget() -> None:
    """Let go of what was asked."""
    job_panel.forget(_SLOT)


def is_awaited() -> bool:
    """Whether the answer is still to come; one that cannot be had is not waited for."""
    return job_panel.is_running(_SLOT)


def render(wish: PriceWish) -> None:
    """Draw the answer, or how far it is."""

    def show() -> None:
        found = job_panel.result(_SLOT, PricePreview, about=_about(wish))
        if found is not None:
            _show(found)

    job_panel.render(_SLOT, "Computing what the last 7 days would have cost", show)


def _about(wish: PriceWish) -> str:
    return msgspec.json.encode(wish).decode()


def _show(found: PricePreview) -> None:
    st.html(pieces.heading("Last 7 days", _read_words(found)))
    was = numbers.usd_sum(found.recorded_usd, is_complete=not found.unpriced_before)
    would_be = numbers.usd_sum(found.would_be_usd, is_complete=not found.unpriced_after)
    words = f"They would have cost {would_be} instead of {was}"
    if found.difference_usd is not None:
        share = numbers.change(found.difference_share)
        words += f": {numbers.usd_change(found.difference_usd)}{f' ({share})' if share else ''}"
    chips = [("extrapolated", "warn")] if found.is_extrapolated else []
    if found.unpriced_before != found.unpriced_after:
        was_count, now_count = found.unpriced_before, found.unpriced_after
        chips.append((f"{now_count:,} attempts without a price, not {was_count:,}", "warn"))
    with st.container(key="preview_words"):
        st.text(f"{words}.")
        if chips:
            st.html(pieces.chips(chips))
    if found.is_extrapolated and found.extrapolation:
        st.text(found.extrapolation)
    if found.endpoints:
        st.html(pieces.table(_COLUMNS, [_row(one) for one in found.endpoints[:_MOST_ROWS]]))
    if len(found.endpoints) > _MOST_ROWS:
        st.caption(f"and {len(found.endpoints) - _MOST_ROWS} more endpoints")
    if not found.attempts_of_change:
        st.caption("Nothing was asked of it in these days.")
    kept = [
        f"{count:,} {_KEPT.get(why, why.replace('_', ' '))}"
        for why, count in found.kept.items()
        if count
    ]
    if kept:
        st.caption(f"Attempts that keep their cost: {', '.join(kept)}.")
    if found.first_day is not None and found.first_day > found.since.date():
        st.caption(f"Single attempts are kept since {found.first_day:%-d %b %Y} alone.")


def _read_words(found: PricePreview) -> str:
    read, of_change = found.attempts_read, found.attempts_of_change
    if read < of_change:
        return f"the newest {read:,} of {of_change:,} attempts computed again"
    return f"{read:,} attempts computed again"


def _row(one: PreviewedEndpoint) -> Row:
    difference = one.difference_usd
    return Row(
        cells=(
            Cell(text=one.endpoint, sub="extrapolated" * one.is_extrapolated, wraps=True),
            Cell(text=numbers.count(one.attempts)),
            Cell(text=numbers.usd_sum(one.recorded_usd, is_complete=not one.unpriced_before)),
            Cell(text=numbers.usd_sum(one.would_be_usd, is_complete=not one.unpriced_after)),
            Cell(text=numbers.UNKNOWN if difference is None else numbers.usd_change(difference)),
        )
    )
