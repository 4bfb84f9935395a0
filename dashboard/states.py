"""What a page shows when there is nothing to show: why, and what to do next."""

import streamlit as st

from dashboard import choices, numbers, queries, source, sums, words
from dashboard.filters import chosen_narrowing, clear_narrowing, set_period
from dashboard.installation import installation
from dashboard.periods import Period

_CURL = """curl {gateway_url}/v1/chat/completions \\
  -H "Authorization: Bearer $TOLLWAY_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "MODEL", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""


def show_nothing_yet(gateway_url: str) -> None:
    """No request was ever recorded."""
    with st.container(border=True, key="empty"):
        st.markdown("**No requests yet.** Send one with")
        st.code(_CURL.format(gateway_url=gateway_url), language="bash")
        st.caption(
            "The key was printed when Tollway started for the first time; `tollway keys create` "
            "makes another. MODEL is one that `/v1/models` lists. The request shows up here within "
            "seconds."
        )


def show_nothing_in(period: Period) -> None:
    """There are requests, but none in the period."""
    latest = source.read_freshness()["last_record_at"].drop_nulls().to_list()
    with st.container(border=True, horizontal_alignment="center", key="empty"):
        st.markdown(f"**No requests in {words.the(period.words)}.**", width="content")
        if latest:
            at = numbers.when(max(latest), period.zone)
            st.caption(f"The latest one came on {at}, {period.zone}.", width="content")
        st.button("Show 30 days", key="widen", type="primary", on_click=set_period, args=("30d",))


def show_nothing_matches(period: Period, outside: int) -> None:
    """There are requests in the period, but the filters leave none."""
    with st.container(border=True, horizontal_alignment="center", key="empty"):
        st.markdown("**Nothing matches these filters.**", width="content")
        st.caption(
            f"{numbers.count(outside)} requests of {words.the(period.words)} lie outside them.",
            width="content",
        )
        with st.container(horizontal=True, horizontal_alignment="center", key="ways_out"):
            st.button("Clear filters", key="clear_all", type="primary", on_click=clear_narrowing)
            st.button("Show 30 days", key="widen", on_click=set_period, args=("30d",))


def has_ever_recorded() -> bool:
    """Whether any worker ever shipped a record, or somebody else stored some."""
    shipped = source.read_freshness()["last_record_at"].is_not_null().any()
    return shipped or bool(choices.read_providers_seen())


def show_empty(period: Period) -> None:
    """Whichever it is."""
    if not has_ever_recorded():
        show_nothing_yet(installation().gateway_url)
        return
    outside = 0
    if chosen_narrowing().values_count:
        outside = queries.total_traffic(sums.read_counts(period)).requests
    if outside:
        show_nothing_matches(period, outside)
    else:
        show_nothing_in(period)
