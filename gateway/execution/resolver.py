"""Turns provider host names into addresses without ever holding up the event loop or file I/O."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUP_TIMEOUT_S = 2.0
LAST_GOOD_S = 300.0
"""How long addresses found earlier stand in while look-ups fail."""

_THREADS = 8
_REMEMBERED_NAMES = 512


class BoundedResolver(AbstractResolver):
    """``getaddrinfo`` on threads of its own, bounded in time, with the last good answer in reserve.

    The loop's default executor is left alone: look-ups that hang there would starve everything
    else that uses it. An answer that the system gives in time, also "no such host", is final.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolver")
        self._last_good: dict[tuple[str, int, int], tuple[float, list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of a host, in the system's order; raises ``OSError`` when there are none."""
        key = (host, port, family)
        loop = asyncio.get_running_loop()
        lookup = loop.run_in_executor(self._threads, _look_up, host, port, family)
        try:
            found = await asyncio.wait_for(lookup, LOOKUP_TIMEOUT_S)
        except (TimeoutError, socket.gaierror) as exc:
            if isinstance(exc, socket.gaierror) and exc.errno != socket.EAI_AGAIN:
                raise
            known = self._last_good.get(key)
            if known is None or time.monotonic() - known[0] > LAST_GOOD_S:
                raise OSError(None, f"name resolution of {host!r} failed: {exc!r}") from exc
            return known[1]
        self._last_good.pop(key, None)
        self._last_good[key] = (time.monotonic(), found)
        if len(self._last_good) > _REMEMBERED_NAMES:
            del self._last_good[next(iter(self._last_good))]
        return found

    async def close(self) -> None:
        """Let go of the threads; a look-up that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    flags = socket.AI_ADDRCONFIG
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=found_family,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for found_family, _, proto, _, address in found
        if found_family in (socket.AF_INET, socket.AF_INET6)
    ]
