"""A public price list, uploaded to be compared: what differs stands among the proposals."""

from urllib.parse import urlencode

import msgspec
import streamlit as st

from dashboard import job_panel, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import Job
from dashboard.admin_states import admin, lacks, show_refusal

_SLOT = "price_import"
_MOST_MB = 20
_NEW = "import_new"
_LISTS: dict[str, str] = {
    "genai-prices": "genai-prices (data.json)",
    "models-dev": "models.dev (api.json)",
    "litellm": "LiteLLM (model_prices_and_context_window.json)",
}


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    added: int
    known: int
    refused_before: int
    superseded: int


class _Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says otherwise."""

    source: str
    version: str
    compared: int
    differ: int
    unlisted: int
    passed_over: tuple[str, ...]
    new_offers: int
    stored: _Stored


def render() -> None:
    """Draw the upload, how far the comparison is, and what came of it."""
    with st.container(border=True, key="price_import_card"):
        st.html(
            pieces.heading("Import a list", "compared with the prices here; nothing changes by it")
        )
        why_not = lacks("operator")
        left, right = st.columns([1, 1.4], gap="small", vertical_alignment="bottom")
        with left:
            source = st.selectbox(
                "List", list(_LISTS), format_func=lambda name: _LISTS[name], key="import_source"
            )
            st.checkbox("Propose offers that are not known here, too", key=_NEW)
        with right:
            file = st.file_uploader(
                "File, as its project publishes it",
                type="json",
                key="import_file",
                max_upload_size=_MOST_MB,
                disabled=why_not is not None,
            )
        st.button(
            "Compare",
            key="import_begin",
            disabled=why_not is not None or file is None or job_panel.is_running(_SLOT),
            help=why_not,
            on_click=_begin,
            args=(source, None if file is None else file.getvalue()),
        )
        job_panel.render(_SLOT, "Comparing the list", _show)


def _begin(source: str, content: bytes | None) -> None:
    query = urlencode({"source": source, "new": str(bool(st.session_state.get(_NEW))).lower()})

    def ask() -> Job:
        return admin().upload(f"/admin/prices/import?{query}", Job, content or b"")

    job_panel.begin_with(_SLOT, ask, about=source)


def _show() -> None:
    try:
        for source in _LISTS:
            found = job_panel.result(_SLOT, _Imported, about=source)
            if found is not None:
                st.html(pieces.heading(found.source, found.version))
                st.text(_words(found))
    except AdminError as error:
        show_refusal(error, key="import_refusal")


def _words(found: _Imported) -> str:
    stored = found.stored
    words = (
        f"{found.compared:,} endpoints compared, {found.differ:,} differ, {found.unlisted:,} are "
        f"not listed. {stored.added:,} proposals are new, {stored.known:,} were known, "
        f"{stored.refused_before:,} were refused before, {stored.superseded:,} are superseded."
    )
    if found.new_offers:
        words += f" {found.new_offers:,} offers of the list are not known here."
    if found.passed_over:
        words += f" Prices by the hour are compared by hand: {', '.join(found.passed_over)}."
    return words
