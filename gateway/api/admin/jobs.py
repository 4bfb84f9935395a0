"""Jobs over the admin API: work that takes longer than a request, with progress and a result.

They live in the memory of the worker that serves the admin listener, and end with it. That worker
answers clients too, so a job works in slices of a millisecond and leaves as much to everybody else.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
from litestar import delete, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.api.admin.desk import not_found
from gateway.api.roles import needs
from gateway.domain.errors import GatewayError, OverloadedError
from gateway.storage.waiting import DatabaseUnavailableError

JobState = Literal["running", "done", "failed", "cancelled"]

MOST_RUNNING = 4
MOST_KEPT = 50
KEPT_FOR = timedelta(hours=1)
"""After a job ended."""
_SLICE_S = 0.001
_PAUSE_S = 0.001
_CLOSE_S = 1.0

_log = logging.getLogger("tollway.jobs")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands."""

    id: UUID
    kind: str
    """What it does, such as `rules.replay`."""
    state: JobState
    progress: float
    """0 to 1; an estimate, and 1 only when it is done."""
    started_at: datetime
    ended_at: datetime | None = None
    """None while it runs."""
    started_by: str
    result: Any = None
    """What its kind says; None until it is done."""
    error: str | None = None
    """Why it failed; None when it did not."""


class JobList(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first, without their results."""

    data: list[Job]


class Progress:
    """What the work of a job tells its desk, and where it lets others go on."""

    def __init__(self, *, pause_s: float = _PAUSE_S) -> None:
        self._pause_s = pause_s
        self._slice_began_s = time.perf_counter()
        self.share = 0.0

    async def tell(self, share: float) -> None:
        """So much is done, 0 to 1. Call it at least every millisecond of work: it is cheap."""
        self.share = min(max(share, self.share), 1.0)
        if time.perf_counter() - self._slice_began_s >= _SLICE_S:
            await asyncio.sleep(self._pause_s)
            self._slice_began_s = time.perf_counter()


Work = Callable[[Progress], Awaitable[Any]]
"""Returns the result, which msgspec can write as JSON. A `GatewayError` it raises is told to who
asked; any other exception is logged and not told."""


class JobDesk:
    """Starts jobs and knows them until an hour after they ended."""

    def __init__(self) -> None:
        self._jobs: dict[UUID, Job] = {}
        self._running: dict[UUID, tuple[asyncio.Task[None], Progress]] = {}

    def start(self, kind: str, work: Work, *, by: str) -> Job:
        """Begin a job and return at once.

        Raises:
            OverloadedError: as many run as may.
        """
        if len(self._running) >= MOST_RUNNING:
            raise OverloadedError(
                f"{MOST_RUNNING} jobs run already; wait for one, or end one with "
                "DELETE /admin/jobs/{id}",
                code="too_many_jobs",
                retry_after_s=5,
            )
        self._forget(room_for=1)
        job = Job(
            id=uuid4(),
            kind=kind,
            state="running",
            progress=0.0,
            started_at=datetime.now(UTC),
            started_by=by,
        )
        progress = Progress()
        self._jobs[job.id] = job
        task = asyncio.create_task(self._run(job, work, progress), name=f"job {kind}")
        self._running[job.id] = (task, progress)
        # A task that is cancelled before its first step never comes to its own end.
        task.add_done_callback(lambda _: self._end_unbegun(job.id))
        return job

    def find(self, job_id: UUID) -> Job | None:
        """A job as it stands; None when there is none, or none any more."""
        self._forget()
        job = self._jobs.get(job_id)
        running = self._running.get(job_id)
        if job is None or running is None:
            return job
        return msgspec.structs.replace(job, progress=min(running[1].share, 0.999))

    def list(self) -> list[Job]:
        """Every job that is known, newest first, without results."""
        self._forget()
        found = [self.find(job_id) for job_id in reversed(self._jobs)]
        return [msgspec.structs.replace(job, result=None) for job in found if job is not None]

    async def cancel(self, job_id: UUID) -> Job | None:
        """End a job, or forget one that has ended; None when there is none."""
        job = self.find(job_id)
        if job is None:
            return None
        running = self._running.get(job_id)
        if running is None:
            return self._jobs.pop(job_id)
        running[0].cancel()
        await asyncio.wait({running[0]}, timeout=_CLOSE_S)
        return self.find(job_id)

    async def aclose(self) -> None:
        """End every job."""
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)

    async def _run(self, job: Job, work: Work, progress: Progress) -> None:
        try:
            result = await work(progress)
        except asyncio.CancelledError:
            self._end(job.id, "cancelled", progress.share)
            raise
        except GatewayError as exc:
            self._end(job.id, "failed", progress.share, error=str(exc))
        except DatabaseUnavailableError:
            error = "the database does not answer; try again"
            self._end(job.id, "failed", progress.share, error=error)
        except Exception:  # noqa: BLE001 - whatever it is, who asked must see that it ended
            _log.exception("job %s failed", job.kind)
            error = "it failed by a fault of the gateway; the log says which"
            self._end(job.id, "failed", progress.share, error=error)
        else:
            self._end(job.id, "done", 1.0, result=result)

    def _end(
        self,
        job_id: UUID,
        state: JobState,
        progress: float,
        *,
        result: object = None,
        error: str | None = None,
    ) -> None:
        self._running.pop(job_id, None)
        self._jobs[job_id] = msgspec.structs.replace(
            self._jobs[job_id],
            state=state,
            progress=progress,
            ended_at=datetime.now(UTC),
            result=result,
            error=error,
        )

    def _end_unbegun(self, job_id: UUID) -> None:
        if job_id in self._running:
            self._end(job_id, "cancelled", 0.0)

    def _forget(self, *, room_for: int = 0) -> None:
        """Let go of what ended long ago, and of the oldest that ended when there are too many."""
        before = datetime.now(UTC) - KEPT_FOR
        ended = [job for job in self._jobs.values() if job.ended_at is not None]
        too_many = len(self._jobs) + room_for - MOST_KEPT
        for number, job in enumerate(ended):
            if number < too_many or (job.ended_at is not None and job.ended_at < before):
                del self._jobs[job.id]


def admin_job_routes(desk: JobDesk) -> list[HTTPRouteHandler]:
    """``/admin/jobs``."""

    @get(
        "/admin/jobs",
        operation_id="listJobs",
        tags=["jobs"],
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def show_all() -> JobList:
        """Jobs of the last hour, newest first, without their results; at most 50."""
        return JobList(data=desk.list())

    @get(
        "/admin/jobs/{job_id:uuid}",
        operation_id="showJob",
        tags=["jobs"],
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def show(job_id: FromPath[UUID]) -> Job:
        """How far a job is, and its result once it is done."""
        return _found(desk.find(job_id), job_id)

    @delete(
        "/admin/jobs/{job_id:uuid}",
        operation_id="cancelJob",
        tags=["jobs"],
        status_code=200,
        opt=needs("operator"),
    )
    async def cancel(job_id: FromPath[UUID]) -> Job:
        """End a job that runs, or forget one that has ended."""
        return _found(await desk.cancel(job_id), job_id)

    return [show_all, show, cancel]


def _found(job: Job | None, job_id: UUID) -> Job:
    if job is None:
        raise not_found(
            f"job {job_id} (any more: they are kept for an hour, and end with the gateway)",
            "GET /admin/jobs",
            code="job_not_found",
        )
    return job
