"""Who looks at the page that is being drawn, and what they may change."""

from collections.abc import Callable

import streamlit as st

from dashboard.admin import AdminError
from dashboard.installation import installation
from dashboard.sessions import COOKIE, Role, SessionsAwayError, SignedIn

_ROLES: tuple[Role, ...] = ("owner", "operator", "auditor")


def reader() -> SignedIn | None:
    """Who is signed in, with the role they have now; None when nobody is.

    Nobody has to be where only this machine is served; everybody is its owner there.

    Raises:
        AdminError: the gateway cannot say.
    """
    sessions = installation().sessions
    token = _cookie()
    if sessions is None or not token:
        return None
    try:
        return sessions.who(token, is_use=False)
    except SessionsAwayError as exc:
        raise AdminError(
            "The gateway does not answer.",
            "Who is signed in cannot be checked; `tollway doctor` tells more.",
        ) from exc


def may(role: Role) -> bool:
    """Whether the reader has a role, or one above it: ask before drawing a button.

    Raises:
        AdminError: the gateway cannot say.
    """
    found = reader()
    if found is None:
        return not installation().needs_sign_in
    return _ROLES.index(found.role) <= _ROLES.index(role)


def token_of_reader(machines_own: Callable[[], str] | None) -> Callable[[], str]:
    """For `Admin`: the reader's own token, else the machine's where nobody has to sign in."""

    def token() -> str:
        found = installation()
        own = _cookie()
        if own and found.sessions is not None and reader() is not None:
            return own
        if found.needs_sign_in or machines_own is None:
            raise AdminError("You are not signed in.", "Load the page again and sign in.")
        return machines_own()

    return token


def _cookie() -> str:
    return st.context.cookies.get(COOKIE, "")
