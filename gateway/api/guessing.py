"""Makes guessing of API keys slow: too many wrong ones from a network, and others are not tried.

Keys that have worked go on working from there, so that one broken client behind a shared address,
or a proxy, never locks out its neighbours.
"""

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache

from gateway.api.failed_attempts import FailedAttempts
from gateway.domain.errors import RateLimitedError
from gateway.domain.peers import peer

MOST_WRONG = 20
"""Keys from one network, /24 or /56, within `WITHIN_S`."""
WITHIN_S = 60.0

_KEPT = 10_000
_V4_BITS, _V6_BITS = 24, 56


class Guesses:
    """What was tried lately in this worker; bounded."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._wrong = FailedAttempts(most=MOST_WRONG, within_s=WITHIN_S, kept=_KEPT, clock=clock)
        # Python's own hash, keyed per process: which texts worked, without keeping them.
        self._worked: dict[int, None] = {}

    def check(self, token: str) -> None:
        """Go on when a key may be tried; costs nothing while nobody guesses.

        Raises:
            RateLimitedError: it has not worked lately, and too many like it came from there.
        """
        if not self._wrong:
            return
        wait_s = self._wrong.wait_s(network_of(peer.get()))
        if wait_s is not None and hash(token) not in self._worked:
            raise RateLimitedError(
                "too many wrong API keys came from this network; see that the right one is sent, "
                f"and wait {wait_s:.0f} s",
                code="too_many_wrong_keys",
                retry_after_s=wait_s,
            )

    def note_right(self, token: str) -> None:
        """It worked."""
        mark = hash(token)
        if mark not in self._worked:
            self._worked[mark] = None
            if len(self._worked) > _KEPT:
                del self._worked[next(iter(self._worked))]

    def note_wrong(self, token: str) -> None:
        """It did not, or does no more."""
        self._worked.pop(hash(token), None)
        self._wrong.note(network_of(peer.get()))


@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """The network that an address is counted with; the text itself where it is no address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    bits = _V4_BITS if ip.version == 4 else _V6_BITS  # noqa: PLR2004 - of IP
    return str(ipaddress.ip_network((ip, bits), strict=False))
