"""Jobs over the admin API: begun, followed, ended; never more than there is room for."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest

from gateway.api.admin.application import admin_app
from gateway.api.admin.guard import Guard
from gateway.api.admin.jobs import MOST_KEPT, MOST_RUNNING, JobDesk, Progress, admin_job_routes
from gateway.domain.errors import InvalidRequestError, OverloadedError

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def desk_and_client() -> AsyncGenerator[tuple[JobDesk, httpx.AsyncClient]]:
    desk = JobDesk()
    app = admin_app(admin_job_routes(desk), Guard("owner-token-0123456789"))
    transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    headers = {"authorization": "Bearer owner-token-0123456789"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://admin", headers=headers
    ) as client:
        yield desk, client
    await desk.aclose()


async def at_once(progress: Progress) -> dict[str, int]:
    await progress.tell(0.5)
    return {"answer": 42}


async def for_ever(progress: Progress) -> None:
    await progress.tell(0.25)
    await asyncio.Event().wait()


async def settled() -> None:
    """Every task that is ready has had its turn."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_job_tells_its_progress_and_then_its_result() -> None:
    async with desk_and_client() as (desk, client):
        may_end = asyncio.Event()

        async def work(progress: Progress) -> dict[str, int]:
            await progress.tell(0.5)
            await may_end.wait()
            return {"answer": 42}

        job = desk.start("tests", work, by="ada")
        await settled()
        running = (await client.get(f"/admin/jobs/{job.id}")).json()
        may_end.set()
        await settled()
        done = (await client.get(f"/admin/jobs/{job.id}")).json()
        listed = (await client.get("/admin/jobs")).json()["data"]

    assert (running["state"], running["progress"], running["result"]) == ("running", 0.5, None)
    assert (running["kind"], running["started_by"]) == ("tests", "ada")
    assert (done["state"], done["progress"], done["result"]) == ("done", 1.0, {"answer": 42})
    assert [(one["id"], one["state"], one["result"]) for one in listed] == [
        (str(job.id), "done", None)
    ]


async def test_a_job_is_cancelled_and_then_forgotten() -> None:
    async with desk_and_client() as (desk, client):
        job = desk.start("tests", for_ever, by="ada")
        await settled()
        cancelled = (await client.delete(f"/admin/jobs/{job.id}")).json()
        forgotten = await client.delete(f"/admin/jobs/{job.id}")
        missing = await client.get(f"/admin/jobs/{job.id}")

    assert (cancelled["state"], cancelled["progress"]) == ("cancelled", 0.25)
    assert forgotten.status_code == 200
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "job_not_found"


async def test_a_job_that_was_cancelled_before_its_first_step_has_ended() -> None:
    async with desk_and_client() as (desk, _):
        job = await desk.cancel(desk.start("tests", for_ever, by="ada").id)

    assert job is not None
    assert job.state == "cancelled"


async def test_why_a_job_failed_is_told_when_it_was_the_wish_and_logged_when_it_was_us(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wish(_: Progress) -> None:
        raise InvalidRequestError("`since` lies in the future", param="since")

    async def fault(_: Progress) -> None:
        raise ZeroDivisionError("a secret")

    async with desk_and_client() as (desk, _):
        with caplog.at_level(logging.ERROR, logger="tollway.jobs"):
            jobs = [desk.start("tests", work, by="ada").id for work in (wish, fault)]
            await settled()
        told = [desk.find(job) for job in jobs]

    assert [job.state for job in told if job] == ["failed", "failed"]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0].error == "`since` lies in the future"
    assert "secret" not in (told[1].error or "")
    assert "ZeroDivisionError" in caplog.text


async def test_no_more_jobs_run_than_may() -> None:
    async with desk_and_client() as (desk, _):
        jobs = [desk.start("tests", for_ever, by="ada") for _ in range(MOST_RUNNING)]
        with pytest.raises(OverloadedError, match="4 jobs run already"):
            desk.start("tests", at_once, by="ada")
        await desk.cancel(jobs[0].id)
        desk.start("tests", at_once, by="ada")


async def test_the_oldest_results_are_forgotten_first_and_what_runs_is_kept() -> None:
    async with desk_and_client() as (desk, _):
        runs = desk.start("tests", for_ever, by="ada")
        last = runs
        for _ in range(MOST_KEPT + 5):
            last = desk.start("tests", at_once, by="ada")
            await settled()
        known = desk.list()

    assert len(known) <= MOST_KEPT
    assert known[0].id == last.id
    assert known[-1].id == runs.id


async def test_what_runs_ends_with_the_desk() -> None:
    async with desk_and_client() as (desk, _):
        job = desk.start("tests", for_ever, by="ada")
        await settled()

    found = desk.find(job.id)
    assert found is not None
    assert found.state == "cancelled"
    assert desk.find(uuid4()) is None


async def test_a_busy_job_lets_others_go_on() -> None:
    turns = 0
    ended = asyncio.Event()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def busy(progress: Progress) -> None:
        for step in range(20_000):
            sum(range(50))
            await progress.tell(step / 20_000)
        ended.set()

    async with desk_and_client() as (desk, _):
        counting = asyncio.create_task(count())
        desk.start("tests", busy, by="ada")
        await ended.wait()
        counting.cancel()

    assert turns > 10
