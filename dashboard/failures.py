"""What a reader sees when something fails: one sentence and what to do, never a stack trace."""

import logging

import streamlit as st

from dashboard.pool import SourceError

_log = logging.getLogger("tollway.dashboard")


def show_source_error(error: SourceError) -> None:
    """In place of the page: what failed, and a button to try again."""
    with st.container(border=True, horizontal_alignment="center", key="failure"):
        st.markdown(f"**{error.title}**", width="content")
        st.caption(error.remedy, width="content")
        st.button("Try again", key="retry", icon=":material/refresh:")


def on_script_error(error: Exception) -> bool:
    """For Streamlit: log what nobody caught, and say so without its details."""
    _log.error("a page failed", exc_info=error)
    st.error(
        "This page failed. That is a fault of Tollway's dashboard; its log has the details. "
        "Reload to try again.",
        icon=":material/error:",
    )
    return True
