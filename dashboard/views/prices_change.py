"""Changing a price: a wish, what it does and would have cost, then the change on record."""

import time
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import msgspec
import streamlit as st

from dashboard import numbers, pieces, price_words
from dashboard.admin import AdminError
from dashboard.admin_answers import OfferedEndpoint
from dashboard.admin_states import admin, lacks, note, say_at, show_refusal
from dashboard.pieces import Cell, Column, Row
from dashboard.views import prices_preview
from pricing.deciding import Decision, Effect, PriceWish
from pricing.operator_layer import PriceChange

_SET, _DISCOUNT, _OFF, _REVOKE = "Set price", "Discount", "Switch off", "Revoke"
_CHECKED = "checked_wish"
_FIRST_RATES = ("input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok")
_EMPTIED = ("rate_", "percent_off", "change_reason")
_TOLD_AT_FIELD = frozenset({*price_words.RATE_WORDS, "effective_to", "reason"})
_MOST_EFFECTS = 12
_MOST_REASON = 500

_EFFECT_COLUMNS = (
    Column(name="Meter"),
    Column(name="Before", is_number=True),
    Column(name="After", is_number=True),
    Column(name="Change", is_number=True),
)


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A wish that the gateway found sound, and what it would do."""

    page: str
    wish: PriceWish
    decision: Decision


def render(
    endpoint: str, offer: OfferedEndpoint | None, changes: tuple[PriceChange, ...], zone: str
) -> None:
    """Draw the form and, once checked, what would change."""
    st.html(pieces.heading("Change", f"nothing is recorded before you have seen it; {zone}"))
    stand = price_words.standing(changes, datetime.fromtimestamp(time.time(), UTC))
    revocable = [one for one in changes if stand.get(one.id) in {"stands", "to come"}]
    kinds = [_SET, _DISCOUNT, _OFF, *([_REVOKE] if revocable else [])]
    kind = st.segmented_control(
        "What", kinds, default=_SET, required=True, key="change_kind", label_visibility="collapsed"
    )
    with st.form("change_form", border=False):
        wish = _FORMS[kind or _SET](endpoint, offer, revocable)
        left, right = st.columns(2)
        begins = left.datetime_input(
            "In force from", None, key="change_from", help="Empty: from now on."
        )
        ends = (
            None
            if kind == _REVOKE
            else right.datetime_input("Until", None, key="change_to", help="Empty: for good.")
        )
        say_at(st.session_state.get(_CHECKED), "effective_to")
        reason = st.text_input(
            "Why", key="change_reason", max_chars=_MOST_REASON, placeholder="for the history"
        )
        say_at(st.session_state.get(_CHECKED), "reason")
        if st.form_submit_button("Check", icon=":material/rule:", key="change_check"):
            _check(
                msgspec.structs.replace(
                    wish,
                    effective_from=_instant(begins, zone),
                    effective_to=_instant(ends, zone),
                    reason=reason or "",
                ),
                endpoint,
            )
            # So that a mistake is told at its field, which is drawn already.
            st.rerun()
    checked = st.session_state.get(_CHECKED)
    if isinstance(checked, AdminError):
        if checked.field not in _TOLD_AT_FIELD:
            show_refusal(checked, key="change_refusal")
    elif isinstance(checked, Checked) and checked.page == endpoint:
        _show_effects(checked, zone)


def _set_price(endpoint: str, offer: OfferedEndpoint | None, _: list[PriceChange]) -> PriceWish:
    price = None if offer is None else offer.price
    st.caption("USD per million tokens. What stays empty stays as it is.")
    rates: dict[str, str] = {}
    refusal = st.session_state.get(_CHECKED)
    columns = st.columns(3)

    def ask(place: int, name: str) -> None:
        now = None if price is None else getattr(price, name)
        given = columns[place % 3].text_input(
            price_words.rate_word(name).capitalize(),
            key=f"rate_{name}",
            placeholder="unknown" if now is None else f"{now.normalize():f}",
            max_chars=24,
        )
        with columns[place % 3]:
            say_at(refusal, name)
        if given and given.strip():
            rates[name] = given.strip().removeprefix("$")

    for place, name in enumerate(_FIRST_RATES):
        ask(place, name)
    with st.expander("Other meters, conditions"):
        columns = st.columns(3)
        others = [name for name in price_words.RATE_WORDS if name not in _FIRST_RATES]
        for place, name in enumerate(others):
            ask(place, name)
        keeps = st.checkbox(
            "Keep tiers, hours and regions of the price before", value=True, key="keep_conditions"
        )
        free = st.checkbox("0 is meant: it is free of charge", key="is_free")
    return PriceWish(
        kind="price",
        target=endpoint,
        rates=rates,
        conditions="keep" if keeps else "drop",
        free=free,
        reason="",
    )


def _discount(endpoint: str, _: OfferedEndpoint | None, __: list[PriceChange]) -> PriceWish:
    left, right = st.columns(2)
    off = left.text_input(
        "Per cent off",
        key="percent_off",
        max_chars=12,
        placeholder="10",
        help="Of every amount; a surcharge is below 0.",
    )
    target = right.selectbox("Of", _targets(endpoint), key="discount_target")
    try:
        factor = f"{1 - Decimal((off or '').strip().rstrip('%').strip()) / 100:f}"
    except InvalidOperation:
        # The gateway says what it should be.
        factor = off or ""
    return PriceWish(kind="discount", target=target, factor=factor, reason="")


def _switch_off(endpoint: str, _: OfferedEndpoint | None, __: list[PriceChange]) -> PriceWish:
    target = st.selectbox("What", _targets(endpoint), key="off_target")
    st.caption("Requests go elsewhere; revoking the change switches it on again.")
    return PriceWish(kind="disable", target=target, reason="")


def _revoke(_: str, __: OfferedEndpoint | None, revocable: list[PriceChange]) -> PriceWish:
    by_id = {one.id: one for one in revocable}
    chosen = st.selectbox(
        "Change",
        list(by_id),
        format_func=lambda one: f"{one}: {price_words.kind_words(by_id[one])}",
        key="revoked",
    )
    st.caption("What was before holds again. The change stays in the history.")
    return PriceWish(kind="revoke", target=chosen or "", reason="")


_FORMS = {_SET: _set_price, _DISCOUNT: _discount, _OFF: _switch_off, _REVOKE: _revoke}


def _targets(endpoint: str) -> list[str]:
    return [endpoint, endpoint.partition("/")[0]]


def _check(wish: PriceWish, page: str) -> None:
    try:
        decision = admin().post("/admin/prices/check", Decision, wish)
    except AdminError as error:
        st.session_state[_CHECKED] = error
        prices_preview.forget()
        return
    st.session_state[_CHECKED] = Checked(page=page, wish=wish, decision=decision)
    prices_preview.begin(wish)


def _show_effects(checked: Checked, zone: str) -> None:
    change, effects = checked.decision.change, checked.decision.effects
    with st.container(border=True, key="effects"):
        begins = numbers.when_to_minute(change.effective_from, zone)
        since = "from now on" if checked.wish.effective_from is None else f"from {begins}"
        count = len(effects)
        st.html(
            pieces.heading("Would change", f"{count} endpoint{'s' * (count != 1)}, {since}, {zone}")
        )
        for effect in effects[:_MOST_EFFECTS]:
            _show_effect(effect, is_alone=count == 1)
        if count > _MOST_EFFECTS:
            st.caption(f"and {count - _MOST_EFFECTS} more")
        if not effects:
            st.caption("No price differs at that moment.")
        prices_preview.render(checked.wish)
        why_not = lacks("operator") or (
            "See first what it would have cost." if prices_preview.is_awaited() else None
        )
        with st.container(horizontal=True):
            st.button(
                "Apply",
                key="change_record",
                type="primary",
                disabled=why_not is not None,
                help=why_not,
                on_click=_record,
                args=(checked,),
            )
            st.button("Discard", key="change_discard", type="tertiary", on_click=_discard)


def _show_effect(effect: Effect, *, is_alone: bool) -> None:
    rows = price_words.price_rows(effect.before, effect.after, changed_only=not is_alone)
    if not is_alone:
        rows.insert(0, Row(cells=(Cell(text=effect.endpoint, wraps=True), *[Cell(text="")] * 3)))
    if rows:
        st.html(pieces.table(_EFFECT_COLUMNS, rows))
    if effect.is_disabled:
        st.html(pieces.chips([("will not serve", "bad")]))


def _record(checked: Checked) -> None:
    try:
        made = admin().post("/admin/prices/changes", PriceChange, checked.wish)
    except AdminError as error:
        st.session_state[_CHECKED] = error
        return
    _discard()
    for name in map(str, st.session_state):
        if name.startswith(_EMPTIED):
            st.session_state[name] = ""
    note(f"Change {made.id} is on record; every gateway process follows within a second.")


def _discard() -> None:
    st.session_state.pop(_CHECKED, None)
    prices_preview.forget()


def _instant(chosen: datetime | None, zone: str) -> datetime | None:
    return None if chosen is None else chosen.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
