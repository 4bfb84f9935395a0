"""How a conversation began: what its turns share, and providers' prompt caches with them."""

from collections.abc import Sequence
from hashlib import blake2b

from gateway.chat.view import Message

_SIZE = 16
_SYSTEM = frozenset({"system", "developer"})


def digest_opening(messages: Sequence[Message]) -> tuple[bytes | None, bytes | None]:
    """Digests of all system text, and of it with the first user message; None for what is not.

    Pictures and sounds are not part of it. For one process only: whoever stores one keys it first.
    """
    hashed = blake2b(digest_size=_SIZE)
    has_system = False
    first_user: Message | None = None
    for message in messages:
        if message.role in _SYSTEM:
            has_system = True
            hashed.update(_text_of(message))
        elif first_user is None and message.role == "user":
            first_user = message
    system = hashed.digest() if has_system else None
    if first_user is None:
        return system, system
    hashed.update(b"\0user\0" + _text_of(first_user))
    return system, hashed.digest()


def _text_of(message: Message) -> bytes:
    content = message.content
    if isinstance(content, str):
        return content.encode()
    return "\0".join([part.text for part in content or () if part.text is not None]).encode()
