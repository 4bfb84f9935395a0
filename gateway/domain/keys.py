"""Keys that callers present: how they are written, checked without any look-up, and digested.

A key is `tw_<environment>_<kid><secret and checksum>`: one letter for its environment, the 8
characters of its public id, 32 secret characters (190 bits) and 6 characters of CRC32 over
everything before them, all base62. Secret scanners find them by `KEY_PATTERN`.
"""

import hmac
import re
import zlib
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

import msgspec

KeyEnvironment: TypeAlias = Literal["l", "t", "a"]
"""Live, test or admin."""

KEY_PATTERN = r"tw_[lta]_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}"

_KEY = re.compile(r"tw_([lta])_([0-9A-Za-z]{8})_[0-9A-Za-z]{32}([0-9A-Za-z]{6})", re.ASCII)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KID_LENGTH = 8
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_LAST_LENGTH = 4
# Bytes from here on would make the first characters of the alphabet likelier than the others.
_UNFAIR_BYTE = 256 - 256 % len(_ALPHABET)


class ParsedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public parts of a well-formed key; whether it is valid, only its digest can tell."""

    environment: KeyEnvironment
    kid: str
    last4: str


class NewKey(ParsedKey, frozen=True, kw_only=True):
    """A key that was just made; its text is shown once and kept nowhere."""

    text: str

    def __repr__(self) -> str:
        return f"NewKey(kid={self.kid!r}, text=<hidden>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # Rich would otherwise be told every field.
        return [("kid", self.kid)]


def make_key(
    random: Callable[[int], bytes], env: KeyEnvironment = "l", *, kid: str | None = None
) -> NewKey:
    """A new key.

    Args:
        random: returns that many bytes nobody can guess, as `secrets.token_bytes` does.
        env: the environment.
        kid: of the key that gets another secret; None makes a new one.
    """
    kid = kid or _base62(random, _KID_LENGTH)
    body = f"tw_{env}_{kid}_{_base62(random, _SECRET_LENGTH)}"
    text = body + _checksum(body)
    return NewKey(environment=env, kid=kid, last4=text[-_LAST_LENGTH:], text=text)


def parse_key(text: str) -> ParsedKey | None:
    """The public parts of a key; None when it is not written like one or its checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum(text[:-_CHECKSUM_LENGTH]) != match[3]:
        return None
    environment = cast("KeyEnvironment", match[1])
    return ParsedKey(environment=environment, kid=match[2], last4=text[-_LAST_LENGTH:])


def digest_key(text: str, pepper: bytes) -> bytes:
    """The 32 bytes that stand for a key in Postgres and in the snapshot.

    HMAC-SHA256 of the whole text: without the pepper, which is kept outside of Postgres, nobody can
    verify a guess. A slow hash would add nothing to 190 random bits but a way to overload us.
    """
    return hmac.digest(pepper, text.encode(), "sha256")


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    characters: list[str] = []
    for _ in range(_CHECKSUM_LENGTH):
        number, remainder = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[remainder])
    return "".join(reversed(characters))


def _base62(random: Callable[[int], bytes], length: int) -> str:
    characters = ""
    while len(characters) < length:
        fair = (byte for byte in random(length) if byte < _UNFAIR_BYTE)
        characters += "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in fair)
    return characters[:length]
