"""From the headers of a request to its caller. There is no default one: a caller or an error."""

import base64
import binascii
from collections.abc import Mapping

from gateway.api.guessing import Guesses
from gateway.domain.caller import Caller
from gateway.domain.errors import AuthenticationError, OverloadedError
from gateway.domain.keys import digest_key, parse_key
from gateway.snapshot.snapshot import Snapshot

KEYS_STALE_AFTER_S = 15 * 60.0
"""How long known keys work while Postgres cannot confirm them."""

_REMEDY = (
    "send it as 'Authorization: Bearer KEY', 'X-API-Key: KEY', or as the password of "
    "'Authorization: Basic'"
)


def carried_key(headers: Mapping[str, str]) -> str:
    """The key that a request carries, whichever of the three ways it uses.

    Raises:
        AuthenticationError: none, an unreadable one, or two different ones.
    """
    carried: list[str] = []
    authorization = headers.get("authorization")
    if authorization:
        carried.append(_from_authorization(authorization))
    api_key = headers.get("x-api-key", "").strip()
    if api_key:
        carried.append(api_key)
    if not carried:
        raise AuthenticationError(f"no API key was sent; {_REMEDY}", code="missing_api_key")
    if len(set(carried)) > 1:
        raise AuthenticationError(
            "two different API keys were sent (Authorization and X-API-Key); send one"
        )
    return carried[0]


def authenticate(
    headers: Mapping[str, str],
    snapshot: Snapshot,
    pepper: bytes,
    *,
    now_s: float,
    guesses: Guesses | None = None,
) -> Caller:
    """The caller behind a request.

    Args:
        headers: by lower-case name.
        snapshot: where keys are looked up; Postgres is never asked.
        pepper: of the key digests.
        now_s: Unix seconds.
        guesses: what was tried lately; None lets everybody try as often as they like.

    Raises:
        RateLimitedError: too many wrong keys came from there.
        AuthenticationError: the same words for a key that is unknown, wrong, expired or revoked.
        OverloadedError: keys could not be confirmed for too long, or were never loaded.
    """
    token = carried_key(headers)
    if guesses is None:
        return _authenticated(token, snapshot, pepper, now_s)
    guesses.check(token)
    try:
        caller = _authenticated(token, snapshot, pepper, now_s)
    except AuthenticationError:
        guesses.note_wrong(token)
        raise
    guesses.note_right(token)
    return caller


def _authenticated(token: str, snapshot: Snapshot, pepper: bytes, now_s: float) -> Caller:
    caller = snapshot.callers.get(digest_key(token, pepper))
    # A key that is known is well-formed: its checksum, a loop of 3 µs, need not be worked out.
    if caller is None and parse_key(token) is None:
        raise AuthenticationError("the API key is not valid")
    confirmed_at_s = snapshot.confirmed_at_s
    if confirmed_at_s is None or now_s - confirmed_at_s > KEYS_STALE_AFTER_S:
        raise OverloadedError(
            "API keys cannot be confirmed: the database has not answered for too long",
            code="keys_unconfirmed",
            retry_after_s=5,
        )
    if caller is None:
        raise AuthenticationError("the API key is not valid")
    if caller.expires_at is not None and caller.expires_at.timestamp() <= now_s:
        raise AuthenticationError("the API key is not valid")
    return caller


def _from_authorization(value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer" if rest:
            return rest
        case "basic":
            try:
                pair = base64.b64decode(rest, validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError, ValueError):
                pair = ""
            _, colon, password = pair.partition(":")
            if not colon or not password:
                raise AuthenticationError(
                    "the Basic credentials are not base64 of 'anything:KEY' in UTF-8"
                )
            return password
        case _:
            raise AuthenticationError(f"the Authorization header is not understood; {_REMEDY}")
