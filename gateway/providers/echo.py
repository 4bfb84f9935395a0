"""What a provider was sent, fit to be shown to the caller who asked for it."""

import re
from typing import Final

from gateway.providers.base import UpstreamRequest
from gateway.providers.scrub import HIDDEN, KEYS

_LONGEST_DATA = 64
# Images and sounds are the caller's own; the beginning shows which.
_DATA: Final = re.compile(rb"(;base64,[A-Za-z0-9+/]{%d})[A-Za-z0-9+/=_-]{64,}" % _LONGEST_DATA)
_BARE_DATA: Final = re.compile(
    rb'("(?:data|file_data)"\s*:\s*"[A-Za-z0-9+/]{%d})[^"]{64,}' % _LONGEST_DATA
)
_KEYS: Final = re.compile(KEYS.pattern.encode(), KEYS.flags & ~re.UNICODE)


def redacted_body(upstream_request: UpstreamRequest) -> bytes:
    """The JSON body without anything that looks like a credential, long data cut short.

    Headers, which carry the credential, are never part of it. What is replaced holds no quotes or
    backslashes, so that the result is JSON as well.
    """
    body = _DATA.sub(rb"\1...", upstream_request.body)
    body = _BARE_DATA.sub(rb"\1...", body)
    return _KEYS.sub(HIDDEN.encode(), body)
