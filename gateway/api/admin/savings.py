"""Savings over the admin API: against the declared baseline, or another one over the records."""

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from gateway.api.admin.desk import answered
from gateway.api.admin.jobs import Job, JobDesk, Progress
from gateway.api.admin.replay import InstallationNow, period
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import InvalidRequestError
from gateway.ledger.replaying import MOST_REQUESTS, USUAL_REQUESTS
from gateway.ledger.savings import By, SavingsReport, savings_against, savings_of_sums
from gateway.routing.replaying import Installation
from gateway.storage.asking import Asker
from gateway.storage.replay_rows import Window, read_callers
from pricing.savings import DEAREST, PREVIOUS_RULES, find_endpoint

KIND = "savings"
_MOST_AT_ONCE = 10_000
_AT_ONCE = 2_000
_BASELINE = (
    "`dearest` (of those that might have answered), `previous-rules` (whoever would have served "
    "under the rule version before), or an endpoint"
)


class SavingsWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A baseline to compare recorded requests with."""

    since: datetime
    """The first instant that counts; UTC where it names no zone."""
    until: datetime | None = None
    """The first instant that does not count any more; None is now."""
    baseline: Annotated[str, Meta(max_length=512, description=_BASELINE)]
    by: By | None = None
    """What to group by, besides the total."""
    sample: Annotated[int, Meta(ge=1, le=MOST_REQUESTS)] = USUAL_REQUESTS
    """The newest so many requests of the period."""


def admin_savings_routes(
    jobs: JobDesk, ask: Asker, installation_now: InstallationNow
) -> list[HTTPRouteHandler]:
    """``/admin/savings``; ``ask`` is given more time than a request has."""

    async def compare(
        wish: SavingsWish, window: Window, here: Installation, progress: Progress
    ) -> SavingsReport:
        async def tell(done: int, of: int) -> None:
            await progress.tell(done / max(of, done, 1))

        return await savings_against(
            ask, window, here, wish.baseline, by=wish.by, sample=wish.sample, tell=tell
        )

    async def prepared(wish: SavingsWish) -> tuple[Window, Installation]:
        since, until = period(wish.since, wish.until)
        callers = await answered(ask(read_callers))
        here = installation_now(callers)
        await _check_baseline(wish.baseline, here)
        return Window(since=since, until=until), here

    @get("/admin/savings", operation_id="showSavings", tags=["savings"], opt=needs("auditor"))
    async def show(
        since: Annotated[datetime, Parameter(description="UTC where it names no zone")],
        until: Annotated[datetime | None, Parameter(description="exclusive; default: now")] = None,
        by: Annotated[By | None, Parameter(description="what to group by")] = None,
        baseline: Annotated[
            str | None,
            Parameter(
                description=f"{_BASELINE}; default: what was declared when requests were answered",
                max_length=512,
            ),
        ] = None,
        sample: Annotated[
            int,
            Parameter(description="with `baseline`: the newest so many", ge=1, le=_MOST_AT_ONCE),
        ] = _AT_ONCE,
    ) -> SavingsReport:
        """What requests would have cost at a baseline, less what they did cost.

        Without `baseline` it is the one that was declared when each request was answered, and all
        requests of the period count, from sums by the quarter of an hour.
        """
        if baseline is None:
            begin, end = period(since, until)
            return await answered(savings_of_sums(ask, begin, end, by=by))
        wish = SavingsWish(since=since, until=until, baseline=baseline, by=by, sample=sample)
        window, here = await prepared(wish)
        return await answered(compare(wish, window, here, Progress()))

    @post(
        "/admin/savings",
        operation_id="compareSavings",
        tags=["savings"],
        status_code=202,
        opt=needs("operator"),
    )
    async def begin(request: AdminRequest, data: JSONBody[SavingsWish]) -> Job:
        """Begin to compare up to 200,000 records with a baseline; answers with a job."""
        window, here = await prepared(data)

        async def work(progress: Progress) -> SavingsReport:
            return await compare(data, window, here, progress)

        return jobs.start(KIND, work, by=request.user.name)

    return [show, begin]


async def _check_baseline(baseline: str, here: Installation) -> None:
    """Go on when it can be compared with.

    Raises:
        InvalidRequestError: it is neither a word nor an endpoint.
    """
    if baseline in {DEAREST, PREVIOUS_RULES}:
        return
    try:
        # Reading all tables takes a while, and is needed for endpoints that are not offered here.
        await asyncio.to_thread(find_endpoint, baseline, here.catalogue)
    except LookupError as exc:
        raise InvalidRequestError(
            f"`baseline`: {exc.args[0]}, nor {PREVIOUS_RULES!r}", param="baseline"
        ) from exc
