"""The preview of a change of prices over the admin API: what a period would have cost under it."""

from datetime import UTC, date, datetime, timedelta

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from gateway.api.admin.jobs import Job, JobDesk, Progress
from gateway.api.admin.prices import PriceDesk
from gateway.api.admin.replay import period
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import InvalidRequestError
from gateway.ledger.previewing import concerned_endpoints, preview_spend
from gateway.ledger.replaying import credible
from gateway.storage.adjustments import first_attempt_day
from gateway.storage.asking import Asker
from gateway.storage.preview_rows import whole_quarters
from gateway.storage.price_changes import load_price_changes
from pricing.catalogue import Catalogue
from pricing.deciding import PriceWish
from pricing.errors import CatalogueError
from pricing.operator_layer import PriceChange, apply_changes
from pricing.previewing import PreviewedSpend

KIND = "prices.preview"
_USUAL_PERIOD = timedelta(days=7)
_LONGEST_PERIOD = timedelta(days=366)


class PreviewWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change, and the period it is tried on."""

    change: PriceWish
    """As ``POST /admin/prices/changes`` takes it; when it is to hold plays no part."""
    since: datetime | None = None
    """The first instant that counts; None is seven days before `until`."""
    until: datetime | None = None
    """The first instant that does not count any more; None is now."""


class PricePreview(PreviewedSpend, frozen=True, kw_only=True):
    """The whole spend of a period beside what it would have been. Both ends are quarters."""

    since: datetime
    until: datetime
    first_day: date | None
    """The oldest UTC day of which attempts are kept; nothing before it can be computed again."""
    difference_share: float | None
    """Of what was recorded; None when that is nothing."""


def admin_preview_routes(desk: PriceDesk, jobs: JobDesk, ask: Asker) -> list[HTTPRouteHandler]:
    """``/admin/prices/preview``; ``ask`` is given more time than a request has."""

    @post(
        "/admin/prices/preview",
        operation_id="previewPriceChange",
        tags=["prices"],
        status_code=202,
        opt=needs("operator"),
    )
    async def preview(request: AdminRequest, data: JSONBody[PreviewWish]) -> Job:
        """Begin to compute what a period would have cost under a change; changes nothing.

        It answers at once with a job; ask `GET /admin/jobs/{id}` until it is done. Of the endpoints
        that the change concerns, the newest 200,000 attempts are computed again.
        """
        since, until = _period(data)
        changes = await desk.ask(load_price_changes)
        before, after = _catalogues(desk, data.change, changes, since, actor=request.user.name)
        concerned = concerned_endpoints(before, after)

        async def work(progress: Progress) -> PricePreview:
            kept_since = await ask(first_attempt_day)
            found = await preview_spend(
                ask, after, concerned, since=since, until=until, tell=progress.tell
            )
            fields = {name: getattr(found, name) for name in found.__struct_fields__}
            return PricePreview(
                **fields,
                since=since,
                until=until,
                first_day=kept_since,
                difference_share=_share(found),
            )

        return jobs.start(KIND, work, by=request.user.name)

    return [preview]


def _catalogues(
    desk: PriceDesk,
    wish: PriceWish,
    changes: list[PriceChange],
    since: datetime,
    *,
    actor: str,
) -> tuple[Catalogue, Catalogue]:
    """The catalogue as it is, and with the change in force from the period's begin on.

    Raises:
        InvalidRequestError: the change cannot be, or changes no price.
    """
    if wish.kind == "disable":
        raise InvalidRequestError(
            "a switch changes no price; POST /admin/rules/replay tells where requests would go",
            param="change.kind",
            code="invalid_price",
        )
    now = msgspec.structs.replace(wish, effective_from=None, effective_to=None)
    change = desk.decide(now, changes, actor=actor).change
    always = msgspec.structs.replace(change, effective_from=since, effective_to=None)
    try:
        return apply_changes(desk.tables, changes), apply_changes(desk.tables, [*changes, always])
    except CatalogueError as exc:
        raise InvalidRequestError(str(exc), param=exc.key, code="invalid_price") from exc


def _period(data: PreviewWish) -> tuple[datetime, datetime]:
    until = credible(data.until or datetime.now(UTC))
    since, until = period(data.since or until - _USUAL_PERIOD, until)
    if until - since > _LONGEST_PERIOD:
        raise InvalidRequestError("a period has at most 366 days", param="since")
    return whole_quarters(since, until)


def _share(found: PreviewedSpend) -> float | None:
    if found.difference_usd is None or not found.recorded_usd:
        return None
    return float(found.difference_usd) / float(found.recorded_usd)
