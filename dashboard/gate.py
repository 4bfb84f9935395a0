"""What stands before every page and socket: who may come in, and what pages may load.

A dashboard that others can reach lets in those who are signed in, and nobody else. One that is
bound to this machine lets everybody of this machine in; a request that names another host in `Host`
or `Origin` then comes from a page that somebody was lured to, and is refused.
"""

import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import streamlit
from anyio.to_thread import run_sync
from google.protobuf.message import DecodeError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg

from dashboard import sign_in
from dashboard.sessions import COOKIE, Sessions, SessionsAwayError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_POLICY_VIOLATION = 1008


class Gate:
    """ASGI middleware; plain, because Starlette's own base class does not see websockets."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions | None = None,
        *,
        is_local: bool = True,
        needs_sign_in: bool = False,
    ) -> None:
        """Stand before ``app``.

        Args:
            app: what is guarded.
            sessions: who is signed in; None: nobody can sign in.
            is_local: only this machine can reach us, so other names in a request are a lure.
            needs_sign_in: nobody else is let in.

        Raises:
            ValueError: others can reach us and need not sign in.
        """
        if not (is_local or needs_sign_in) or (needs_sign_in and sessions is None):
            raise ValueError("what others can reach needs sign-in, and sign-in needs sessions")
        self._app = app
        self._sessions = sessions
        self._is_local = is_local
        self._needs_sign_in = needs_sign_in
        self._headers = {
            "Content-Security-Policy": content_security_policy(),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not (is_from_here(headers) if self._is_local else is_from_own_page(headers)):
            await _refuse(scope, receive, send)
            return
        if self._sessions is not None:
            if scope["type"] == "http" and scope["path"] in {sign_in.SIGN_IN, sign_in.SIGN_OUT}:
                answered = await sign_in.answer(Request(scope, receive), self._sessions)
                await answered(scope, receive, send)
                return
            if self._needs_sign_in:
                refusal = await _refusal_of_strangers(scope, self._sessions)
                if refusal is not None:
                    await _answer(refusal, scope, receive, send)
                    return
                if scope["type"] == "websocket":
                    receive = _watched(receive, send, _token(scope), self._sessions)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def is_from_here(headers: Headers) -> bool:
    """Whether the address that the browser shows, and the page that asks, are on this machine."""
    host = headers.get("host", "")
    if _hostname(f"//{host}") not in LOOPBACK_NAMES:
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host


def is_from_own_page(headers: Headers) -> bool:
    """Whether the page that asks, where the browser names one, came from the same address."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def content_security_policy() -> str:
    """Pages load from here alone; the one inline script is Streamlit's own, named by its hash."""
    index = Path(streamlit.__file__).with_name("static") / "index.html"
    scripts = _INLINE_SCRIPT.findall(index.read_text("utf-8"))
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'self'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
        "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _token(scope: Scope) -> str:
    return HTTPConnection(scope).cookies.get(COOKIE, "")


async def _refusal_of_strangers(scope: Scope, sessions: Sessions) -> Response | None:
    """None for those who are signed in."""
    token = _token(scope)
    try:
        if token and await run_sync(lambda: sessions.who(token)) is not None:
            return None
    except SessionsAwayError:
        return sign_in.away()
    headers = Headers(scope=scope)
    is_page = scope["type"] == "http" and (
        scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    )
    if not is_page:
        return PlainTextResponse("Sign in first.\n", status_code=401)
    if not token and headers.get("sec-fetch-site") == "cross-site":
        return sign_in.again()
    return sign_in.to_sign_in(Request(scope))


def _watched(receive: Receive, send: Send, token: str, sessions: Sessions) -> Receive:
    """Nothing more is heard from a socket whose session is over, whatever it sends."""

    async def receive_from_signed_in() -> Message:
        message = await receive()
        if message["type"] != "websocket.receive":
            return message
        is_use = not _is_automatic(message.get("bytes"))
        try:
            found = await run_sync(lambda: sessions.who(token, is_use=is_use))
        except SessionsAwayError:
            found = None
        if found is None:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION}
        return message

    return receive_from_signed_in


def _is_automatic(data: bytes | None) -> bool:
    """Whether a page refreshes itself, rather than somebody doing something."""
    if not data:
        return True
    try:
        message = BackMsg.FromString(data)
    except DecodeError:
        return True
    if message.WhichOneof("type") == "rerun_script":
        return message.rerun_script.is_auto_rerun
    return message.WhichOneof("type") == "app_heartbeat"


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    await response(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    text = "The dashboard answers on this machine only: open it as http://127.0.0.1 or localhost.\n"
    await PlainTextResponse(text, status_code=403)(scope, receive, send)
