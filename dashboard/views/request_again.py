"""Who would serve a logged request if it came now: the gateway is asked when a reader wants it."""

import streamlit as st

from dashboard import pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import TriedAgain
from dashboard.admin_states import admin, show_refusal
from dashboard.installation import installation
from dashboard.views import explained

_RESULT = "explained_again"
_HELP = (
    "With the rules, prices, health and budgets of now. Nobody is asked; of the request is known "
    "what its record keeps."
)


def render(request_id: str, served: str | None) -> None:
    """Draw the button, and what came of it; `served` is the endpoint that answered then."""
    can_ask = installation().admin is not None
    if st.button(
        "Explain again now",
        key="explain_again",
        icon=":material/help:",
        disabled=not can_ask,
        help=_HELP if can_ask else "This dashboard was started without a gateway to ask.",
    ):
        st.session_state[_RESULT] = (request_id, _ask(request_id))
    of, found = st.session_state.get(_RESULT, (None, None))
    if of != request_id:
        return
    if isinstance(found, AdminError):
        show_refusal(found, key="explain_again_refusal")
    elif isinstance(found, TriedAgain):
        with st.container(key="explained_again"):
            _show(found, served)


def _ask(request_id: str) -> TriedAgain | AdminError:
    try:
        return admin().post(f"/admin/requests/{request_id}/explain", TriedAgain)
    except AdminError as error:
        return error


def _show(again: TriedAgain, served: str | None) -> None:
    first = next((one.endpoint for one in again.explanation.candidates), None)
    st.html(pieces.heading("If it came now", _compared(first, served)))
    if not again.key_works:
        st.caption("Its key does not work any more: this is what would become of it if it did.")
    if again.asking_headers:
        st.caption("Its headers are not kept, so that rules which ask for some do not apply:")
        st.text(", ".join(again.asking_headers))
    explained.show(again.explanation)


def _compared(first: str | None, served: str | None) -> str:
    if first is None:
        return ""
    if served is None:
        return "nobody served it then"
    who = "the endpoint that served it" if first == served else "another endpoint"
    return f"{who} would be asked first"
