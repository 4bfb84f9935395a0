"""A public price list over the admin API: uploaded, compared, and what differs proposed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from gateway.api.admin.jobs import Job, JobDesk, Progress
from gateway.api.admin.prices import PriceDesk
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import InvalidRequestError
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.price_changes import load_price_changes
from gateway.storage.proposals import Stored, store_proposals
from pricing.importers.listing import ListError
from pricing.importers.proposals import Comparison, PriceProposal, compare, propose_new
from pricing.importers.sources import read_price_list
from pricing.operator_layer import PriceChange, apply_changes, without_discounts

KIND = "prices.import"
MAX_BYTES = 20 * 1024 * 1024
"""Of a list; the largest that is known has a tenth of it."""
_READ, _COMPARED = 0.5, 0.9

Source = Literal["genai-prices", "models-dev", "litellm"]


class ImportedList(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says otherwise than is believed here."""

    source: str
    version: str
    """The beginning of the list's SHA-256."""
    compared: int
    """Endpoints that the list has, too."""
    differ: int
    unlisted: int
    """Endpoints that it does not have."""
    passed_over: tuple[str, ...]
    """With prices by the hour: to be compared by hand."""
    new_offers: int
    """Of enabled providers, which are not known here; proposed where that was asked for."""
    stored: Stored


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    source: Source
    content: bytes
    providers: tuple[str, ...]
    """Empty is all."""
    with_new: bool
    changes: Sequence[PriceChange]


def admin_price_import_routes(desk: PriceDesk, jobs: JobDesk, ask: Asker) -> list[HTTPRouteHandler]:
    """``/admin/prices/import``; ``ask`` is given more time than a request has."""

    @post(
        "/admin/prices/import",
        operation_id="importPriceList",
        tags=["prices"],
        status_code=202,
        request_max_body_size=MAX_BYTES,
        opt=needs("operator"),
    )
    async def begin(
        request: AdminRequest,
        source: Annotated[Source, Parameter(description="which list the body is")],
        provider: Annotated[
            list[str] | None, Parameter(description="only these providers; may be repeated")
        ] = None,
        *,
        new: Annotated[
            bool, Parameter(description="propose offers that are not known here, too")
        ] = False,
    ) -> Job:
        """Begin to compare a public price list with what is believed here; changes no price.

        The body is the list as its project publishes it, in JSON, at most 20 MiB. It answers at
        once with a job; ask `GET /admin/jobs/{id}` until it is done. What differs is then among
        `GET /admin/proposals`.
        """
        content = await request.body()
        if not content:
            raise InvalidRequestError("the body must be the list, in JSON", param="body")
        only = tuple(provider or ())
        unknown = [name for name in only if name not in desk.tables.providers]
        if unknown:
            raise InvalidRequestError(f"{unknown[0]!r} does not serve here", param="provider")
        changes = without_discounts(await desk.ask(load_price_changes))

        wanted = _Wanted(
            source=source, content=content, providers=only, with_new=new, changes=changes
        )

        async def work(progress: Progress) -> ImportedList:
            return await _import(ask, desk, wanted, progress)

        return jobs.start(KIND, work, by=request.user.name)

    return [begin]


async def _import(ask: Asker, desk: PriceDesk, wanted: _Wanted, progress: Progress) -> ImportedList:
    source, providers = wanted.source, wanted.providers
    now = datetime.now(UTC)
    # In threads: requests are answered meanwhile.
    try:
        listed = await asyncio.to_thread(read_price_list, source, wanted.content, now)
    except ListError as exc:
        raise InvalidRequestError(f"that is not the list of {source}: {exc}") from exc
    await progress.tell(_READ)

    def look() -> tuple[Comparison, tuple[PriceProposal, ...], list[str]]:
        # Lists know what is listed, before anything is taken off.
        believed = apply_changes(desk.tables, wanted.changes)
        found = compare(believed, listed.prices.lookup, at=now, providers=providers)
        offered = propose_new(
            believed, listed.prices, at=now, providers=providers or believed.providers
        )
        looked_at = [
            one.id
            for one in believed.endpoints_by_id.values()
            if not providers or one.provider in providers
        ]
        return found, tuple(offered), looked_at

    found, offered, looked_at = await asyncio.to_thread(look)
    await progress.tell(_COMPARED)
    proposed = (*found.proposals, *(offered if wanted.with_new else ()))

    async def store(connection: Connection) -> Stored:
        return await store_proposals(
            connection, source, listed.version, proposed, looked_at=looked_at, at=now
        )

    return ImportedList(
        source=source,
        version=listed.version,
        compared=found.compared,
        differ=len(found.proposals),
        unlisted=found.unlisted,
        passed_over=found.passed_over,
        new_offers=len(offered),
        stored=await ask(store),
    )
