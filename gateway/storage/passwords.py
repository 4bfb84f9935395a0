"""Passwords of people, kept as argon2id hashes: slow on purpose, since people's words are few."""

import functools
import re

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.domain.wishes import WishError

SHORTEST, LONGEST = 12, 1_024
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}", re.ASCII)
# Actors that are no users: whoever reads the audit log must not take one for the other.
_RESERVED = frozenset({"owner", "operator", "auditor", "tollway", "system", "root", "gateway"})

# RFC 9106's second recommendation, which the library follows: 64 MiB, three passes.
_HASHER = PasswordHasher()


def check_name(name: str) -> None:
    """Go on when a user can be called so.

    Raises:
        WishError: not; the message names the field.
    """
    if _NAME.fullmatch(name) is None:
        raise WishError(
            "name: give 1 to 64 of a-z, 0-9 and . _ @ + -, beginning with a letter or a digit"
        )
    if name in _RESERVED:
        raise WishError(f"name: {name!r} would be mistaken for something else; choose another")


def check_password(password: str, *, name: str) -> None:
    """Go on when a password may be used.

    Raises:
        WishError: not; the message names the field and never the password.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WishError(f"password: give {SHORTEST} to {LONGEST} characters")
    if name and name in password.lower() and len(password) < len(name) + SHORTEST:
        raise WishError("password: is little more than the user's name; choose another")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise WishError(f"password: has fewer than {_FEWEST_DIFFERENT} different characters")


def hash_password(password: str) -> str:
    """What is stored of a password; takes tens of milliseconds and 64 MiB."""
    return _HASHER.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether it is the one behind the hash; takes as long where there is none."""
    try:
        is_right = _HASHER.verify(password_hash or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return is_right and password_hash is not None


@functools.cache
def _nobodys() -> str:
    return _HASHER.hash("nobody has this password")


_FEWEST_DIFFERENT = 5
