"""Who is signed in, as the admin API says: asked again every two seconds, and never assumed."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, TypeAlias

import httpx
import msgspec

COOKIE = "tollway_session"
"""Holds the token of a session of the admin API; scripts of a page cannot read it."""

Role: TypeAlias = Literal["owner", "operator", "auditor"]

_WITHIN = httpx.Timeout(5.0, connect=2.0)
_KNOWN_FOR_S = 2.0
_KEPT = 1_024
_CREATED, _UNAUTHORIZED, _TOO_MANY = 201, 401, 429


class SignedIn(msgspec.Struct, frozen=True):
    """Somebody who is signed in."""

    name: str
    role: Role


class SignInError(Exception):
    """Nobody was signed in; the text is for the person who tried."""


class SessionsAwayError(Exception):
    """The admin API cannot say who is signed in; then nobody is let in."""


class _Begun(msgspec.Struct, frozen=True):
    token: str

    def __repr__(self) -> str:
        return "_Begun()"


class Sessions:
    """Asks one admin API. May be used by many threads; every method waits for the network."""

    def __init__(self, admin_url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = httpx.Client(
            base_url=admin_url,
            timeout=_WITHIN,
            # Asked now and then: no connection is kept for the next time.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            follow_redirects=False,
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[float, bool, SignedIn | None]] = OrderedDict()

    def who(self, token: str, *, is_use: bool = True) -> SignedIn | None:
        """Who holds a session; None when it is over.

        Args:
            token: from the cookie.
            is_use: a person did something; what a page does by itself keeps no session alive.

        Raises:
            SessionsAwayError: the admin API does not answer.
        """
        if not _is_token(token):
            return None
        # What is kept in memory opens nothing.
        key = hashlib.sha256(token.encode()).digest()
        now_s = self._clock()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now_s - known[0] < _KNOWN_FOR_S and (known[1] or not is_use):
            return known[2]
        headers = _bearer(token) | ({} if is_use else {"x-tollway-background": "1"})
        answer = self._ask("GET", headers=headers)
        if answer.status_code == _UNAUTHORIZED:
            found = None
        elif answer.is_success:
            found = msgspec.json.decode(answer.content, type=SignedIn)
        else:
            raise SessionsAwayError
        with self._lock:
            self._known[key] = (now_s, is_use, found)
            self._known.move_to_end(key)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def sign_in(self, name: str, password: str, *, old_token: str | None) -> str:
        """The token of a new session; the old one ends.

        Raises:
            SignInError: the name or the password is wrong, or was too often.
            SessionsAwayError: the admin API does not answer.
        """
        held = old_token if old_token is not None and _is_token(old_token) else None
        answer = self._ask(
            "POST",
            headers={"content-type": "application/json"} | (_bearer(held) if held else {}),
            content=msgspec.json.encode({"name": name, "password": password}),
        )
        if answer.status_code == _CREATED:
            return msgspec.json.decode(answer.content, type=_Begun).token
        if answer.status_code == _TOO_MANY:
            wait = answer.headers.get("retry-after", "60")
            raise SignInError(f"Too many wrong passwords. Try again in {wait} seconds.")
        if answer.is_client_error:
            raise SignInError("The name or the password is wrong.")
        raise SessionsAwayError

    def sign_out(self, token: str) -> None:
        """End a session at once.

        Raises:
            SessionsAwayError: the admin API does not answer.
        """
        if not _is_token(token):
            return
        self._ask("DELETE", headers=_bearer(token))
        with self._lock:
            self._known.pop(hashlib.sha256(token.encode()).digest(), None)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _ask(
        self, method: str, *, headers: dict[str, str], content: bytes | None = None
    ) -> httpx.Response:
        try:
            return self._client.request(method, "/admin/session", headers=headers, content=content)
        except httpx.TransportError as exc:
            raise SessionsAwayError from exc


def _is_token(text: str) -> bool:
    # Anything else in a cookie is not passed on as a header.
    return text.startswith("tws_") and text.isascii() and text.isprintable() and " " not in text


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
