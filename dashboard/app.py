"""The page that Streamlit runs: navigation, the bar with period and freshness, then one view."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from dashboard import exports, links, live, numbers, pieces, queries, source
from dashboard.admin import AdminError
from dashboard.failures import show_source_error
from dashboard.filters import choose_narrowing, choose_period, take_over_links
from dashboard.periods import Period
from dashboard.pool import SourceError
from dashboard.reader import reader
from dashboard.style import STYLE
from dashboard.views import VIEWS

_LIVE = {"Overview", "Requests"}
"""Those that can be watched."""
_MARK = Path(__file__).with_name("mark.svg")


def main() -> None:
    """Draw the shell, then the chosen view."""
    chosen: list[Period] = []
    pages = [
        st.Page(
            _as_page(view.render, view.path, chosen),
            title=view.title,
            url_path=view.path,
            default=index == 0,
        )
        for index, view in enumerate(VIEWS)
    ]
    page = st.navigation(pages, position="top")
    st.set_page_config(
        page_title=f"{page.title} · Tollway",
        page_icon=str(_MARK),
        layout="wide",
        menu_items={"About": "Tollway: a cost-aware gateway for language models."},
    )
    links.remember({view.path: page for view, page in zip(VIEWS, pages, strict=True)})
    st.logo(str(_MARK))
    st.html(STYLE)
    take_over_links()
    applied = next(view.filters for view in VIEWS if view.title == page.title)
    with st.container(horizontal=True, vertical_alignment="center", key="bar"):
        _draw_title(page.title)
        period = choose_period(datetime.fromtimestamp(time.time(), UTC), applied)
        if page.title in _LIVE:
            live.choose(st.session_state.get("period"))
        exports.draw_menu(period)
        _draw_reader()
    chosen.append(period)
    choose_narrowing(applied)
    page.run()


def _draw_reader() -> None:
    try:
        found = reader()
    except AdminError:
        # The page itself says what does not answer.
        return
    if found is not None:
        st.html(pieces.signed_in(found.name, found.role), width="content")


def _as_page(
    render: Callable[[Period], None], name: str, chosen: list[Period]
) -> Callable[[], None]:
    def run() -> None:
        try:
            render(chosen[0])
        except SourceError as error:
            show_source_error(error)

    run.__name__ = name
    return run


@st.fragment(run_every="15s")
def _draw_title(title: str) -> None:
    now = datetime.fromtimestamp(time.time(), UTC)
    try:
        fresh = queries.freshness(source.read_freshness(), now)
        dead = source.read_dead_letters()
    except SourceError as error:
        st.html(pieces.title(title, note=error.title, tone="bad", hint=error.remedy))
        return
    if fresh.data_to is None:
        st.html(pieces.title(title, note="nothing recorded yet", tone="warn"))
        return
    zone = st.context.timezone or "UTC"
    at = numbers.clock(fresh.data_to, zone, now=now)
    waiting = f"≈{numbers.NBSP}{numbers.count(fresh.backlog_records)} records waiting"
    notes = [f"data to {at}"]
    hints = [numbers.when_exactly(fresh.data_to, zone), waiting]
    if fresh.is_stale:
        notes.append(waiting if fresh.backlog_records else "nothing heard since")
    if dead:
        notes.append(f"{numbers.count(dead)} set aside")
        hints.append(
            f"PostgreSQL would not take {numbers.count(dead)} records of the last week: they lie "
            "in spool/deadletter, and `tollway doctor` tells why"
        )
    st.html(
        pieces.title(
            title,
            note=" · ".join(notes),
            tone="warn" if fresh.is_stale or dead else "good",
            hint="; ".join(hints),
        )
    )


main()
