"""Which requests belong together, so that they find the prompt cache that the last one filled.

A preference only: whoever is sticky must be healthy and pass every filter, and the others follow.
"""

from hashlib import blake2b
from typing import Literal

from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from pricing.price import Price

_SIZE = 16


def affinity_key(request: ChatRequest, caller: Caller, *, hash_key: bytes = b"") -> bytes | None:
    """16 bytes that all requests of a conversation share; None when nothing tells.

    From ``session_id``, else ``prompt_cache_key``, else ``user``, else the system messages with the
    first user message. Two keys never share one.
    """
    if request.session_id:
        text = b"session\0" + request.session_id.encode()
    elif request.prompt_cache_key:
        text = b"cache\0" + request.prompt_cache_key.encode()
    elif request.user:
        text = b"user\0" + request.user.encode()
    elif request.opening_digest is not None:
        text = b"opening\0" + request.opening_digest
    else:
        return None
    return keyed_digest(text, caller, hash_key=hash_key)


def affinity_source(
    request: ChatRequest,
) -> Literal["session_id", "prompt_cache_key", "user", "opening"] | None:
    """What `affinity_key` goes by."""
    if request.session_id:
        return "session_id"
    if request.prompt_cache_key:
        return "prompt_cache_key"
    if request.user:
        return "user"
    return None if request.opening_digest is None else "opening"


def keyed_digest(text: bytes, caller: Caller, *, hash_key: bytes = b"") -> bytes:
    """16 bytes that say no more than whether two texts of one key are the same.

    ``hash_key`` is the installation's secret, at most 32 bytes.
    """
    return blake2b(text, digest_size=_SIZE, key=hash_key + caller.key_id.bytes).digest()


def has_cheap_cache(price: Price | None) -> bool:
    """Whether reading the prompt from the cache is known to cost less than reading it anew."""
    return (
        price is not None
        and price.cache_read_usd_per_mtok is not None
        and price.input_usd_per_mtok is not None
        and price.cache_read_usd_per_mtok < price.input_usd_per_mtok
    )
