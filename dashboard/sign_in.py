"""The pages for signing in and out: plain HTML, so that no script ever holds a password."""

from html import escape
from urllib.parse import parse_qs, quote

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboard.sessions import COOKIE, Sessions, SessionsAwayError, SignInError

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"

_MAX_FORM_BYTES = 8_192
_LASTS_S = 12 * 3600
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; display: grid; min-height: 100vh;
  place-items: center; background: light-dark(#fafbfc, #14161b); color: light-dark(#1b1f27, #e8eaf0); }
main { width: min(22rem, 100vw - 2rem); }
h1 { font-size: 1.35rem; font-weight: 650; }
label { display: block; margin-top: .9rem; font-size: .9rem; }
input { box-sizing: border-box; width: 100%; font: inherit; padding: .5rem .6rem; margin-top: .2rem;
  border: 1px solid light-dark(#8d95a3, #7b8494); border-radius: .4rem; background: transparent; }
button { font: inherit; font-weight: 600; margin-top: 1.2rem; padding: .55rem 1rem; width: 100%;
  border: 0; border-radius: .4rem; background: light-dark(#1d4ed8, #8aa4f5); color: light-dark(#fff, #10131a); }
[role=alert] { color: light-dark(#a8261f, #f79b93); }
"""  # noqa: E501 - a stylesheet


async def answer(request: Request, sessions: Sessions) -> Response:
    """What one of the two paths answers."""
    if request.method in {"GET", "HEAD"}:
        return await _show(request, sessions)
    if request.method != "POST":
        return _page("Not that way", "<p>Only GET and POST are known here.</p>", status=405)
    # Browsers name the page that a form stands on; one of another site must not sign anybody in.
    if request.headers.get("origin") is None:
        return _page("Refused", "<p>The form was sent from elsewhere.</p>", status=403)
    form = await _form(request)
    if form is None:
        return _page("Refused", "<p>The form is too large.</p>", status=413)
    try:
        if request.url.path == SIGN_OUT:
            return await _sign_out(request, sessions)
        return await _sign_in(request, sessions, form)
    except SessionsAwayError:
        return away()


def to_sign_in(request: Request) -> Response:
    """The way there, and back afterwards."""
    query = f"?{request.url.query}" if request.url.query else ""
    wanted = quote(request.url.path + query, safe="/")
    return RedirectResponse(f"{SIGN_IN}?next={wanted}", status_code=303, headers=_headers())


def again() -> Response:
    """Loads the same address once more: cookies of ours are not sent along from other sites."""
    return HTMLResponse(
        '<!doctype html><meta http-equiv="refresh" content="0"><title>Tollway</title>',
        headers=_headers(),
    )


def away() -> Response:
    """Nobody can say who is signed in."""
    return _page(
        "The gateway does not answer",
        "<p>Who is signed in cannot be checked. See that the gateway and its database run; "
        "<code>tollway doctor</code> tells more. Then load this page again.</p>",
        status=503,
    )


async def _show(request: Request, sessions: Sessions) -> Response:
    if request.url.path == SIGN_IN:
        return _sign_in_page(_wanted(request.query_params.get("next")))
    token = request.cookies.get(COOKIE)
    try:
        found = await run_sync(lambda: sessions.who(token)) if token else None
    except SessionsAwayError:
        return away()
    if found is None:
        return RedirectResponse(SIGN_IN, status_code=303, headers=_headers())
    who = f"{escape(found.name)}, {escape(found.role)}"
    return _page(
        "Sign out",
        f'<p>You are signed in as {who}.</p><form method="post" action="{SIGN_OUT}">'
        '<button>Sign out</button></form><p><a href="/">Back</a></p>',
    )


async def _sign_in(request: Request, sessions: Sessions, form: dict[str, str]) -> Response:
    wanted = _wanted(form.get("next"))
    name, password = form.get("name", ""), form.get("password", "")
    held = request.cookies.get(COOKIE)
    try:
        token = await run_sync(lambda: sessions.sign_in(name, password, old_token=held))
    except SignInError as exc:
        return _sign_in_page(wanted, problem=str(exc), name=name, status=401)
    answered = RedirectResponse(wanted, status_code=303, headers=_headers())
    answered.set_cookie(
        COOKIE,
        token,
        max_age=_LASTS_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )
    return answered


async def _sign_out(request: Request, sessions: Sessions) -> Response:
    token = request.cookies.get(COOKIE)
    if token:
        await run_sync(lambda: sessions.sign_out(token))
    answered = RedirectResponse(SIGN_IN, status_code=303, headers=_headers())
    answered.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="strict", secure=_is_secure(request)
    )
    return answered


def _sign_in_page(wanted: str, *, problem: str = "", name: str = "", status: int = 200) -> Response:
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return _page(
        "Sign in",
        f'{alert}<form method="post" action="{SIGN_IN}">'
        f'<input type="hidden" name="next" value="{escape(wanted)}">'
        f'<label>Name<input name="name" value="{escape(name)}" autocomplete="username" '
        'autocapitalize="none" spellcheck="false" required autofocus></label>'
        '<label>Password<input name="password" type="password" '
        'autocomplete="current-password" required></label><button>Sign in</button></form>',
        status=status,
    )


def _page(title: str, body: str, *, status: int = 200) -> Response:
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} · Tollway</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{body}</main></body></html>\n",
        status_code=status,
        headers=_headers(),
    )


def _headers() -> dict[str, str]:
    return {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # With "no-referrer" browsers send `Origin: null` with our own forms, which are refused.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


async def _form(request: Request) -> dict[str, str] | None:
    """The first value of each field; None when it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=16, keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def _wanted(path: str | None) -> str:
    """A path of ours; never an address of another host, however it is written."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\", SIGN_IN, SIGN_OUT)):
        return "/"
    return path if path.isprintable() and "\\" not in path else "/"


def _is_secure(request: Request) -> bool:
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "")}
