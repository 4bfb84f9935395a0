"""The operator's prices over the admin API: look at them, try a change, record it, revoke it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter

from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError, InvalidRequestError, OverloadedError
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.price_changes import add_price_change, load_price_changes, lock_prices
from gateway.storage.waiting import DatabaseUnavailableError
from pricing.catalogue import Catalogue
from pricing.deciding import Decision, PriceWish, decide
from pricing.endpoint import Endpoint
from pricing.errors import CatalogueError
from pricing.operator_layer import PriceChange
from pricing.price import Price, resolve

T = TypeVar("T")
_MOST_LISTED = 200


class PricedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with the price that holds at one instant."""

    endpoint: str
    provider: str
    model: str
    at: datetime
    price: Price | None
    """For a short prompt; None is unknown, never 0."""
    is_disabled: bool


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """Prices, in the order of endpoints."""

    version: str
    """Of the catalogue, as records carry it."""
    data: list[PricedEndpoint]


class ChangeList(msgspec.Struct, frozen=True, kw_only=True):
    """Changes, newest first."""

    data: list[PriceChange]


class PriceDesk:
    """What the routes work with. ``tables`` is the catalogue that changes are laid over."""

    def __init__(self, ask: Asker, snapshots: SnapshotHolder, tables: Catalogue) -> None:
        self._ask = ask
        self._snapshots = snapshots
        self.tables = tables

    @property
    def catalogue(self) -> Catalogue:
        return self._snapshots.current.catalogue

    def price(self, endpoint: Endpoint, at: datetime) -> PricedEndpoint:
        return PricedEndpoint(
            endpoint=endpoint.id,
            provider=endpoint.provider,
            model=endpoint.model,
            at=at,
            price=resolve(endpoint, at=at, prompt_tokens=0),
            is_disabled=endpoint.is_disabled_at(at),
        )

    def decide(self, wish: PriceWish, changes: list[PriceChange], *, actor: str) -> Decision:
        """Check a wish.

        Raises:
            InvalidRequestError: it cannot be.
        """
        try:
            return decide(wish, self.tables, changes, at=datetime.now(UTC), actor=actor)
        except CatalogueError as exc:
            raise InvalidRequestError(str(exc), param=exc.key, code="invalid_price") from exc

    async def ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """In one transaction.

        Raises:
            OverloadedError: the database does not answer.
        """
        try:
            return await self._ask(work)
        except DatabaseUnavailableError as exc:
            raise OverloadedError(
                "the database does not answer; try again",
                code="database_unavailable",
                retry_after_s=5,
            ) from exc


def admin_price_routes(desk: PriceDesk) -> list[HTTPRouteHandler]:
    """``/admin/prices``."""

    @get(
        "/admin/prices",
        operation_id="listPrices",
        tags=["prices"],
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def show(
        model: Annotated[str, Parameter(description="a model or an endpoint", max_length=256)],
        at: Annotated[datetime | None, Parameter(description="default: now")] = None,
    ) -> PriceList:
        """The price of each endpoint of a model, as this worker resolves it."""
        catalogue = desk.catalogue
        one = catalogue.endpoints_by_id.get(model)
        found = (one,) if one is not None else catalogue.endpoints_of(model)
        if not found:
            near = ", ".join(catalogue.nearest(model))
            raise GatewayError(
                f"no model or endpoint is called {model!r}"
                + (f"; nearest are {near}" * bool(near)),
                status=404,
                kind="invalid_request_error",
                code="model_not_found",
            )
        moment = at or datetime.now(UTC)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return PriceList(
            version=catalogue.version, data=[desk.price(endpoint, moment) for endpoint in found]
        )

    @get(
        "/admin/prices/changes",
        operation_id="listPriceChanges",
        tags=["prices"],
        opt=needs("auditor"),
    )
    async def history(
        target: Annotated[str | None, Parameter(description="an endpoint or a provider")] = None,
    ) -> ChangeList:
        """What was decided, newest first; at most 200."""
        changes = await desk.ask(load_price_changes)
        chosen = [one for one in reversed(changes) if target is None or one.target == target]
        return ChangeList(data=chosen[:_MOST_LISTED])

    @post(
        "/admin/prices/check",
        operation_id="checkPriceChange",
        tags=["prices"],
        status_code=200,
        opt=needs("auditor"),
    )
    async def check(request: AdminRequest, data: JSONBody[PriceWish]) -> Decision:
        """What a change would do; changes nothing."""
        changes = await desk.ask(load_price_changes)
        return desk.decide(data, changes, actor=request.user.name)

    @post(
        "/admin/prices/changes",
        operation_id="changePrice",
        tags=["prices"],
        opt=needs("operator"),
    )
    async def change(request: AdminRequest, data: JSONBody[PriceWish]) -> PriceChange:
        """Record a change; every gateway process follows within a second."""

        async def record(connection: Connection) -> PriceChange:
            await lock_prices(connection)
            changes = await load_price_changes(connection)
            decided = desk.decide(data, changes, actor=request.user.name).change
            return await add_price_change(connection, decided)

        return await desk.ask(record)

    return [show, history, check, change]
