"""Work that the gateway does for a page: begun, followed with a bar, and its result kept."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import streamlit as st

from dashboard.admin import AdminError
from dashboard.admin_answers import Job
from dashboard.admin_states import admin, lacks, show_refusal

T = TypeVar("T")
_NOT_FOUND = 404


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a page of this browser began."""

    about: str
    """What it was asked: another question needs another job."""
    job: Job


def begin(slot: str, path: str, body: object, *, about: str) -> None:
    """For callbacks: ask for the work; an older one of the slot is ended."""
    begin_with(slot, lambda: admin().post(path, Job, body), about=about)


def begin_with(slot: str, ask: Callable[[], Job], *, about: str) -> None:
    """`begin`, where there is more to asking for it."""
    forget(slot)
    try:
        job = ask()
    except AdminError as error:
        st.session_state[slot] = error
        return
    st.session_state[slot] = Followed(about=about, job=job)


def forget(slot: str) -> None:
    """For callbacks: end the work, or let go of what came of it."""
    found = st.session_state.pop(slot, None)
    if isinstance(found, Followed) and found.job.state == "running":
        try:
            admin().delete(f"/admin/jobs/{found.job.id}", Job)
        except AdminError:
            # It ends by itself, and nobody looks at it any more.
            return


def is_running(slot: str) -> bool:
    """Whether the slot's work goes on."""
    found = st.session_state.get(slot)
    return isinstance(found, Followed) and found.job.state == "running"


def result(slot: str, kind: type[T], *, about: str) -> T | None:
    """What came of it; None while it runs, and of what was asked about something else.

    Raises:
        AdminError: gateway and dashboard are not of the same version.
    """
    found = st.session_state.get(slot)
    if not isinstance(found, Followed) or found.about != about or found.job.state != "done":
        return None
    try:
        return msgspec.json.decode(found.job.result, type=kind)
    except msgspec.DecodeError as exc:
        raise AdminError(
            "The gateway and the dashboard are not of the same version.",
            "Restart both with `tollway up`.",
        ) from exc


def render(slot: str, words: str, show: Callable[[], None] | None = None) -> None:
    """Draw how far it is, or why it failed; `show` draws what came of it.

    Args:
        slot: of `begin`.
        words: what is done, of our own words.
        show: called when it is done.
    """
    found = st.session_state.get(slot)
    if isinstance(found, AdminError):
        show_refusal(found, key=f"{slot}_refusal")
    elif isinstance(found, Followed):
        if found.job.state == "running":
            _follow(slot, words)
        elif found.job.state == "done" and show is not None:
            show()
        elif found.job.state == "cancelled":
            st.caption("It was ended before it was done.")


@st.fragment(run_every="1s")
def _follow(slot: str, words: str) -> None:
    found = st.session_state.get(slot)
    if not isinstance(found, Followed):
        # It was stopped: the page around it changes too.
        st.rerun()
    try:
        job = admin().get(f"/admin/jobs/{found.job.id}", Job)
    except AdminError as error:
        is_gone = error.status == _NOT_FOUND
        st.session_state[slot] = (
            AdminError("It was lost.", "The gateway was restarted meanwhile: begin it again.")
            if is_gone
            else error
        )
        st.rerun()
    if job.state == "failed":
        st.session_state[slot] = AdminError("It failed.", job.error or "The log says why.")
        st.rerun()
    st.session_state[slot] = msgspec.structs.replace(found, job=job)
    if job.state != "running":
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(max(job.progress, 0.0), 1.0), text=words)
        if lacks("operator") is None:
            st.button("Stop", key=f"{slot}_stop", type="tertiary", on_click=forget, args=(slot,))
