"""The filter bar. Its widgets are bound to the URL, so that a link shows what its sender saw.

URL keys: ``period`` (of `periods.CHOICES`), ``tz`` (IANA name; left out, the viewer's), ``cmp``
(whether the period before is shown beside it), with ``period=custom`` also ``from`` and ``to``, on
the wall clock of the zone; and any number each of `narrowing.FILTERS`. A value of these that is no
option stays chosen: a link never shows more than its sender saw.
They are drawn by `dashboard.app` on every page: Streamlit clears what no widget holds. What a page
cannot apply is disabled there with the reason, and its chip says so.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import polars as pl
import streamlit as st

from dashboard import choices, numbers, pieces
from dashboard.narrowing import EVERYTHING, FILTERS, Narrowing
from dashboard.periods import CHOICES, CUSTOM, DEFAULT, Period, make_period
from dashboard.pool import SourceError
from dashboard.queries import OUTCOME_WORDS
from dashboard.schemas import DIMENSIONS

_UTC = "UTC"
_MOST_VALUES = 20
_MOST_SHOWN = 40
_APPLIED = "applied_narrowing"
_SET = "set"
_MINUTE = timedelta(minutes=1)


def take_over_links() -> None:
    """Chooses what a link to another page asked for, as ``?set=provider:groq``.

    Streamlit cannot hand over what widgets are bound to (`st.page_link` doubles the key), so such
    links say it apart; call it before any widget is drawn.
    """
    pairs = st.query_params.get_all(_SET)
    if not pairs:
        return
    for pair in pairs:
        kind, _, value = pair.partition(":")
        if kind in FILTERS and value:
            _put(kind, [value], [value])
        elif kind == "period" and value in CHOICES:
            _put(kind, value, value)
    del st.query_params[_SET]


def choose_period(now: datetime, applied: Collection[str] = tuple(FILTERS)) -> Period:
    """Draw the bar and answer with the period that is chosen.

    Args:
        now: aware.
        applied: those of `narrowing.FILTERS` that the page can apply.
    """
    choice = st.segmented_control(
        "Period",
        CHOICES,
        default=DEFAULT,
        required=True,
        key="period",
        bind="query-params",
        label_visibility="collapsed",
        width="content",
    )
    viewers = _viewers_zone()
    start = end = None
    with (
        st.popover("Filters", icon=":material/filter_list:", key="filters"),
        st.container(gap="xsmall"),
    ):
        if choice == CUSTOM:
            start = st.datetime_input("From", None, key="from", bind="query-params")
            end = st.datetime_input("To", None, key="to", bind="query-params")
            st.caption("Without them: the day up to now. At most 400 days are shown.")
        st.session_state[_APPLIED] = _choose_values(applied)
        zone = st.selectbox(
            "Time zone",
            _zones(),
            index=None,
            placeholder=f"{viewers} (yours)",
            key="tz",
            bind="query-params",
        )
        is_compared = st.toggle(
            "Compare with the period before", value=True, key="cmp", bind="query-params"
        )
        st.button("Clear all", key="clear", type="tertiary", on_click=clear_narrowing)
        st.caption("The provider is the one that served, or that an attempt went to.")
    period = make_period(choice or DEFAULT, now=now, zone=zone or viewers, start=start, end=end)
    return msgspec.structs.replace(period, is_compared=is_compared)


def choose_narrowing(applied: Collection[str] = tuple(FILTERS)) -> Narrowing:
    """Draw a chip for every value that is filtered by; answer with what this page applies."""
    values = [(kind, value) for kind in FILTERS for value in _chosen(kind)]
    if values:
        with st.container(horizontal=True, key="chips", gap="xsmall"):
            for index, (kind, value) in enumerate(values):
                shown = value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}…"
                is_applied = kind in applied
                st.button(
                    f"{kind}: {pieces.as_markdown(shown)}"
                    + ("" if is_applied else " · not on this page"),
                    key=f"chip-{index}",
                    icon=":material/close:",
                    icon_position="right",
                    type="secondary" if is_applied else "tertiary",
                    help="" if is_applied else why_not_applied(kind),
                    on_click=_remove,
                    args=(kind, value),
                )
            st.button("Clear all", key="clear_chips", type="tertiary", on_click=clear_narrowing)
    return chosen_narrowing()


def chosen_narrowing() -> Narrowing:
    """What is chosen and can be applied on this page, for views."""
    return st.session_state.get(_APPLIED, EVERYTHING)


def why_not_applied(kind: str) -> str:
    """For a filter that a page leaves out."""
    return (
        f"What this page sums up is not kept by {FILTERS[kind].lower()}. Requests can be filtered "
        "by it."
    )


def clear_narrowing() -> None:
    """For callbacks: nothing is filtered."""
    for kind in FILTERS:
        st.session_state[kind] = []


def set_period(choice: str) -> None:
    """For callbacks: the bar, and with it the URL, follows."""
    st.session_state["period"] = choice


def set_values(kind: str, values: list[str]) -> None:
    """For callbacks: filter by these alone."""
    st.session_state[kind] = values


def narrow_period(start: datetime, end: datetime) -> None:
    """For callbacks: look at a part of the time, on the wall clock of the zone."""
    _put("period", CUSTOM, CUSTOM)
    for key, at in (("from", start), ("to", end)):
        _put(key, at, f"{at:%Y-%m-%dT%H:%M}")


def _put(key: str, value: object, text: str | list[str]) -> None:
    """Give a bound widget a value, and the URL too.

    Streamlit writes a value of the session's state into the URL only where the widget was drawn
    before; while it was not, nothing is bound, and the URL can be written to.
    """
    if key not in st.session_state:
        st.query_params[key] = text
    st.session_state[key] = value


def moment_parameters(period: Period) -> dict[str, str | list[str]]:
    """The URL keys that show this very time and traffic whenever they are followed."""
    zone = ZoneInfo(period.zone)
    # The fields of a link have whole minutes.
    end = period.end + (-timedelta(seconds=period.end.timestamp() % 60) % _MINUTE)
    found: dict[str, str | list[str]] = {
        "period": CUSTOM,
        "from": f"{period.start.astimezone(zone):%Y-%m-%dT%H:%M}",
        "to": f"{end.astimezone(zone):%Y-%m-%dT%H:%M}",
        "tz": period.zone,
    }
    if not period.is_compared:
        found["cmp"] = "false"
    return found | {kind: list(_chosen(kind)) for kind in FILTERS if _chosen(kind)}


def words_of(period: Period) -> str:
    """From when to when, on the clock of its zone."""
    start, end = (numbers.when_to_minute(at, period.zone) for at in (period.start, period.end))
    return f"{start} to {end}, {period.zone}"


def _choose_values(applied: Collection[str]) -> Narrowing:
    try:
        options = choices.read_dimensions()
    except SourceError:
        # The page says so itself; what is chosen stays chosen.
        options = pl.DataFrame(schema=DIMENSIONS)
    for kind, name in FILTERS.items():
        is_closed = kind == "outcome"
        found = options.filter(pl.col("kind") == kind)["value"].drop_nulls().unique().sort()
        is_applied = kind in applied
        st.multiselect(
            name,
            OUTCOME_WORDS if is_closed else found.to_list(),
            key=kind,
            bind="query-params",
            accept_new_options=not is_closed,
            max_selections=_MOST_VALUES,
            select_all=False,
            disabled=not is_applied,
            help=None if is_applied else why_not_applied(kind),
        )
    return Narrowing(*(_chosen(kind) if kind in applied else () for kind in FILTERS))


def _chosen(kind: str) -> tuple[str, ...]:
    return tuple(sorted(st.session_state.get(kind) or ()))


def _remove(kind: str, value: str) -> None:
    st.session_state[kind] = [one for one in st.session_state.get(kind) or () if one != value]


def _viewers_zone() -> str:
    zone = st.context.timezone
    return zone if zone in available_timezones() else _UTC


@st.cache_data(show_spinner=False)
def _zones() -> list[str]:
    return sorted(available_timezones())
