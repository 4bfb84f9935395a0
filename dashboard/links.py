"""Links between the pages of the dashboard, with a filter to set there."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import streamlit as st

_PAGES: ContextVar[Mapping[str, Any] | None] = ContextVar("pages", default=None)
"""By path; each run has a context of its own."""


def remember(pages: Mapping[str, Any]) -> None:
    """The pages of the navigation by their paths, for `draw`."""
    _PAGES.set(pages)


def draw(path: str, label: str, *, sets: tuple[str, ...] = ()) -> None:
    """A link to a page; plain text where there is no navigation.

    Args:
        path: of `dashboard.views.VIEWS`.
        label: our own words; Markdown.
        sets: what is filtered there, as ``provider:groq``: see `filters.take_over_links`.
    """
    page = (_PAGES.get() or {}).get(path)
    if page is None:
        st.caption(label)
        return
    st.page_link(page, label=label, query_params=[("set", one) for one in sets] or None)
