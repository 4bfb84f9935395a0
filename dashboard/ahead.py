"""Reads side by side what a page is going to ask for, while the page is drawn.

A page names its reads in the order in which it wants them: calls of functions under
`st.cache_data`, which keeps their answers. Whoever asks for one that is under way waits for it, and
for one that was not begun reads it there and then, so that a page is the same without any of this.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from dashboard.pool import SourceError

_AT_ONCE = 2
"""For one page: a server of two cores has no use for more."""
_AT_MOST = 4
"""For all pages: others read for themselves meanwhile, as long as there are connections."""

_free = threading.BoundedSemaphore(_AT_MOST)


@contextmanager
def reading(*reads: Callable[[], object]) -> Generator[None]:
    """Read these meanwhile; nothing is under way afterwards, and what was not begun is left out."""
    waiting = deque(reads)
    readers: list[threading.Thread] = []
    try:
        for _ in range(min(_AT_ONCE, len(reads))):
            if not _free.acquire(blocking=False):
                break
            readers.append(threading.Thread(target=_read_all, args=(waiting,), name="ahead"))
            readers[-1].start()
        yield
    finally:
        waiting.clear()
        for reader in readers:
            reader.join()


def _read_all(waiting: deque[Callable[[], object]]) -> None:
    try:
        while read := _next_of(waiting):
            read()
    except SourceError:
        # The page comes to it too, and tells.
        waiting.clear()
    finally:
        _free.release()


def _next_of(waiting: deque[Callable[[], object]]) -> Callable[[], object] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
