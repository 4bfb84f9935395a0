"""The requests that are open in this worker: admission, stalled readers, and the drain."""

import asyncio
import time
from collections.abc import Collection
from types import TracebackType
from uuid import UUID

from gateway.domain.errors import OverloadedError
from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import Outcome

_SWEEP_S = 1.0


class OpenRequest:
    """One open request: its task, and why that would be cancelled."""

    __slots__ = ("_task", "interruption", "is_streaming", "send_began_at_s")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is served inside a task")
        self._task = task
        self.interruption = Interruption()
        self.is_streaming = False
        self.send_began_at_s: float | None = None
        """When the send that is under way began, on the monotonic clock; None between sends."""

    def hang_up(self) -> None:
        """The caller is gone: stop working for it."""
        self._task.cancel()

    def shut_down(self) -> None:
        """The gateway is going: end with an explicit error. A second time changes nothing."""
        if self.interruption.is_told:
            return
        self.interruption.outcome = Outcome.GATEWAY_SHUTDOWN
        self._task.cancel()

    def revoke(self) -> None:
        """Its key is not to be used any more: end with an explicit error, once."""
        if self.interruption.is_told:
            return
        self.interruption.is_revoked = True
        self._task.cancel()


class Traffic:
    """Counts, bounds and, at the end, ends the open requests of a worker."""

    def __init__(self, *, most: int, stalled_client_s: float) -> None:
        self._most = most
        self._stalled_client_s = stalled_client_s
        self._open: set[OpenRequest] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_draining = False

    @property
    def open_count(self) -> int:
        return len(self._open)

    def admit(self) -> "Admission":
        """Take a request in for as long as the returned context lasts.

        Raises:
            OverloadedError: too many are open.
        """
        if len(self._open) >= self._most:
            raise OverloadedError(
                f"this gateway has {self._most} requests open and takes no more now",
                code="too_many_requests_open",
                retry_after_s=1,
                should_retry=True,
            )
        return Admission(self)

    def add(self, request: OpenRequest) -> None:
        self._open.add(request)
        self._idle.clear()

    def discard(self, request: OpenRequest) -> None:
        self._open.discard(request)
        if not self._open:
            self._idle.set()

    def end_requests_of(self, keys: Collection[UUID]) -> None:
        """End what is open of keys that were revoked at once."""
        if not keys:
            return
        for request in list(self._open):
            if request.interruption.key_id in keys:
                request.revoke()

    async def sweep(self) -> None:
        """Until cancelled: cut off callers that do not read what is sent to them."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            earliest_s = time.monotonic() - self._stalled_client_s
            for request in list(self._open):
                began_at_s = request.send_began_at_s
                if began_at_s is not None and began_at_s < earliest_s:
                    request.hang_up()

    async def drain(self, *, within_s: float, farewell_s: float = 3.0) -> None:
        """Wait for the open requests; end those that are still open with an explicit error."""
        self.is_draining = True
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            pass
        else:
            return
        for request in list(self._open):
            request.shut_down()
        try:
            async with asyncio.timeout(farewell_s):
                await self._idle.wait()
        except TimeoutError:
            # Their callers do not read: there is nobody left to tell.
            for request in list(self._open):
                request.hang_up()


class Admission:
    """An open request, from entering the context to leaving it."""

    __slots__ = ("_request", "_traffic")

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._request = OpenRequest()

    def __enter__(self) -> OpenRequest:
        self._traffic.add(self._request)
        return self._request

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._traffic.discard(self._request)
