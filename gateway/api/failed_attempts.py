"""Counts failures by whoever caused them, so that guessing is slow; bounded, and forgetful."""

import time
from collections import OrderedDict
from collections.abc import Callable


class FailedAttempts:
    """How often each of the latest culprits failed within a window of time."""

    def __init__(
        self,
        *,
        most: int,
        within_s: float,
        kept: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nobody.

        Args:
            most: failures of one culprit within the window, after which it has to wait.
            within_s: how long a window lasts; it begins with the first failure.
            kept: culprits that are remembered; the one that has not failed for longest is dropped.
            clock: monotonic seconds.
        """
        self._most = most
        self._within_s = within_s
        self._kept = kept
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def wait_s(self, culprit: str) -> float | None:
        """How long this one has to wait; None when it may try."""
        if not self._windows:
            return None
        began_s, count = self._windows.get(culprit, (0.0, 0))
        if count < self._most:
            return None
        left_s = began_s + self._within_s - self._clock()
        return left_s if left_s > 0 else None

    def note(self, culprit: str) -> None:
        """This one failed, or is about to try."""
        now_s = self._clock()
        began_s, count = self._windows.pop(culprit, (now_s, 0))
        if now_s - began_s >= self._within_s:
            began_s, count = now_s, 0
        self._windows[culprit] = (began_s, count + 1)
        if len(self._windows) > self._kept:
            self._windows.popitem(last=False)

    def take_back(self, culprit: str) -> None:
        """What was noted last was no failure."""
        began_s, count = self._windows.get(culprit, (0.0, 0))
        if count > 1:
            self._windows[culprit] = (began_s, count - 1)
        else:
            self._windows.pop(culprit, None)

    def forget(self, culprit: str) -> None:
        """This one succeeded."""
        self._windows.pop(culprit, None)
