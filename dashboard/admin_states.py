"""What pages share that change things: the admin API of this installation, and its refusals."""

import streamlit as st

from dashboard import pieces
from dashboard.admin import Admin, AdminError
from dashboard.installation import installation
from dashboard.reader import may, reader
from dashboard.sessions import Role

_NOTE = "admin_note"


def admin() -> Admin:
    """The admin API.

    Raises:
        AdminError: this dashboard was told none.
    """
    found = installation().admin
    if found is None:
        raise AdminError(
            "This dashboard can only read.",
            "It was started without the address of a gateway's admin listener; `tollway up` and "
            "`tollway dashboard` know it.",
        )
    return found


def lacks(role: Role) -> str | None:
    """Why the reader may not do what takes a role, for a button's help; None when they may.

    Raises:
        AdminError: the gateway cannot say who reads.
    """
    if may(role):
        return None
    found = reader()
    who = "nobody is signed in" if found is None else f"you are {found.role}"
    return f"This takes the role {role}; {who}."


def show_admin_error(error: AdminError) -> None:
    """In place of a page: what failed, and a button to try again."""
    with st.container(border=True, horizontal_alignment="center", key="failure"):
        st.html(pieces.chips([(error.title, "bad")]), width="content")
        st.text(error.remedy, width="content")
        st.button("Try again", key="retry", icon=":material/refresh:")


def show_refusal(error: AdminError, *, key: str) -> None:
    """Below a form: what is wrong with what was asked for. The remedy may quote the reader."""
    with st.container(border=True, key=key):
        st.html(pieces.chips([(error.title, "bad")]))
        st.text(error.remedy)


def say_at(refusal: object, field: str) -> None:
    """Below a field of a form: what is wrong with it, where that was said of it."""
    if isinstance(refusal, AdminError) and refusal.field == field:
        st.html(pieces.chips([(refusal.remedy, "bad")]))


def note(text: str, *, is_done: bool = True) -> None:
    """Say something above the page when it is drawn next."""
    st.session_state[_NOTE] = (text, is_done)


def show_note() -> None:
    """What `note` left, once."""
    text, is_done = st.session_state.pop(_NOTE, (None, True))
    if text is not None:
        word = ("done", "good") if is_done else ("nothing was changed", "bad")
        with st.container(horizontal=True, vertical_alignment="center", key="note"):
            st.html(pieces.chips([word]), width="content")
            st.text(text)
