"""The rules dry run on logged requests, over the admin API: what other rules would have changed."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import Meta

from gateway.api.admin.desk import ask_database, not_found
from gateway.api.admin.jobs import Job, JobDesk, Progress
from gateway.api.admin.rules import RulesDesk, invalid_rules
from gateway.api.roles import AdminRequest, needs
from gateway.domain.caller import Caller
from gateway.domain.errors import InvalidRequestError
from gateway.ledger.replaying import (
    MOST_REQUESTS,
    USUAL_REQUESTS,
    EmptyPeriodError,
    period_of,
    replay_rules,
)
from gateway.routing.replaying import Installation
from gateway.routing.replaying_report import ReplayReport
from gateway.storage.asking import Asker
from gateway.storage.replay_rows import Window, read_callers

KIND = "rules.replay"

InstallationNow = Callable[[Mapping[UUID, Caller]], Installation]
"""What decisions rest on as it is now, with these callers."""


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules to be tried on logged requests."""

    source: str
    """TOML; an empty text tries what happens without rules."""
    since: datetime
    """The first instant that counts; UTC where it names no zone."""
    until: datetime | None = None
    """The first instant that does not count any more; None is now."""
    kid: Annotated[str, Meta(description="the public part of a key")] | None = None
    """Only requests of this key."""
    model: Annotated[str, Meta(max_length=256)] | None = None
    """Only requests for this model as it was typed, or that it answered."""
    sample: Annotated[int, Meta(ge=1, le=MOST_REQUESTS)] = USUAL_REQUESTS
    """The newest so many of the period."""


def admin_replay_routes(
    desk: RulesDesk, jobs: JobDesk, ask: Asker, installation_now: InstallationNow
) -> list[HTTPRouteHandler]:
    """``/admin/rules/replay``; ``ask`` is given more time than a request has."""

    @post(
        "/admin/rules/replay",
        operation_id="replayRules",
        tags=["rules"],
        status_code=202,
        opt=needs("operator"),
    )
    async def replay(request: AdminRequest, data: JSONBody[Replay]) -> Job:
        """Begin to decide logged requests again, under the rules in force and under a text.

        It answers at once with a job; ask `GET /admin/jobs/{id}` until it is done. Its result says
        how many requests would get another endpoint, what that would have cost, and how many
        cannot be decided again, and why.
        """
        rules, verdict = desk.check(data.source)
        if rules is None or not verdict.valid:
            raise invalid_rules(verdict)
        window = await _window(data, ask)
        in_force = desk.rules

        async def work(progress: Progress) -> ReplayReport:
            async def tell(done: int, of: int) -> None:
                await progress.tell(done / max(of, done, 1))

            here = installation_now(await ask(read_callers))
            return await replay_rules(
                ask, window, here, in_force, rules, sample=data.sample, tell=tell
            )

        return jobs.start(KIND, work, by=request.user.name)

    return [replay]


async def _window(data: Replay, ask: Asker) -> Window:
    """The period and the filters, checked.

    Raises:
        InvalidRequestError: the period ends before it begins.
        GatewayError: there is no such key.
        OverloadedError: the database does not answer.
    """
    since, until = period(data.since, data.until)
    key_id = None
    if data.kid is not None:
        callers = await ask_database(ask, read_callers)
        key_id = next((one.key_id for one in callers.values() if one.kid == data.kid), None)
        if key_id is None:
            raise not_found(f"key {data.kid!r}", "GET /admin/keys", code="key_not_found")
    return Window(since=since, until=until, key_id=key_id, model=data.model)


def period(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    """Both in UTC; the end is now unless it is given.

    Raises:
        InvalidRequestError: it ends before it begins.
    """
    try:
        return period_of(since, until)
    except EmptyPeriodError as exc:
        raise InvalidRequestError("`until` must be later than `since`", param="until") from exc
