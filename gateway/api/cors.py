"""Which web pages may call the gateway from a browser, and the headers that say so."""

from collections.abc import Iterable, Sequence

import msgspec

Headers = list[tuple[bytes, bytes]]

EXPOSED = (
    "X-Request-Id, X-Generation-Id, X-Tollway-Attempts, X-Tollway-Provider, X-Tollway-Model, "
    "X-Tollway-Cost-Usd, X-Tollway-Warnings, X-Tollway-Strategy, Idempotency-Replayed, "
    "Retry-After, X-Should-Retry, WWW-Authenticate"
)
"""Headers of ours that a page may read; a browser hides all others from it."""

_ANY = "*"
_MAX_ASKED_BYTES = 1024
_USUAL_HEADERS = b"authorization, content-type, x-api-key, x-request-id, idempotency-key"
_VARY: tuple[bytes, bytes] = (b"vary", b"Origin")


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """A browser's question before it sends a request."""

    asked_headers: bytes = b""


class Cors:
    """Answers for a list of origins; ``*`` among them lets every page in.

    Cookies are never involved: keys travel in headers, so credentials need no permission.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = _ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers_for(self, origin: bytes) -> Headers:
        """What to add to any answer; caches are told that it depends on the origin."""
        if self._any:
            return [
                (b"access-control-allow-origin", b"*"),
                (b"access-control-expose-headers", EXPOSED.encode()),
            ]
        if origin not in self._origins:
            return [_VARY]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED.encode()),
            _VARY,
        ]

    def answer(self, origin: bytes, preflight: Preflight) -> Headers | None:
        """The headers of the answer to a browser's question; None when the page may not call."""
        if not self._any and origin not in self._origins:
            return None
        asked = preflight.asked_headers
        return [
            *self.headers_for(origin),
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", asked if _is_harmless(asked) else _USUAL_HEADERS),
            (b"access-control-max-age", b"600"),
        ]


def preflight_of(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Preflight | None:
    """The browser's question in a request; None when it is an ordinary one."""
    if method != "OPTIONS":
        return None
    named = dict(headers)
    if b"access-control-request-method" not in named:
        return None
    return Preflight(asked_headers=named.get(b"access-control-request-headers", b""))


def _is_harmless(names: bytes) -> bool:
    if not names or len(names) > _MAX_ASKED_BYTES:
        return False
    return all(part.strip().replace(b"-", b"").isalnum() for part in names.split(b","))
