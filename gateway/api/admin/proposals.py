"""What public price lists propose, over the admin API: look, accept, refuse."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, Parameter
from msgspec import Meta

from gateway.api.admin.prices import PriceDesk
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError, InvalidRequestError
from gateway.storage.engine import Connection
from gateway.storage.proposals import (
    ProposalError,
    ProposalStatus,
    StoredProposal,
    accept_proposal,
    list_proposals,
    refuse_proposal,
)
from pricing.errors import CatalogueError
from pricing.operator_layer import PriceChange

T = TypeVar("T")
_MOST_LISTED = 200


class ProposalList(msgspec.Struct, frozen=True, kw_only=True):
    """Proposals, newest first."""

    data: list[StoredProposal]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody says of a proposal."""

    reason: Annotated[str, Meta(min_length=1, max_length=1_000)]
    """For the history."""


def admin_proposal_routes(desk: PriceDesk) -> list[HTTPRouteHandler]:
    """``/admin/proposals``."""

    async def decide(work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await desk.ask(work)
        except ProposalError as exc:
            raise GatewayError(
                str(exc), status=409, kind="invalid_request_error", code="proposal_not_open"
            ) from exc
        except CatalogueError as exc:
            raise InvalidRequestError(str(exc), param=exc.key, code="invalid_price") from exc

    @get(
        "/admin/proposals",
        operation_id="listPriceProposals",
        tags=["prices"],
        opt=needs("auditor"),
    )
    async def show(
        status: Annotated[
            ProposalStatus | Literal["all"], Parameter(description="default: open ones")
        ] = "open",
    ) -> ProposalList:
        """What price lists propose, newest first; at most 200."""
        wanted = None if status == "all" else status

        async def look(connection: Connection) -> list[StoredProposal]:
            return await list_proposals(connection, status=wanted, limit=_MOST_LISTED)

        return ProposalList(data=await desk.ask(look))

    @post(
        "/admin/proposals/{number:int}/accept",
        operation_id="acceptPriceProposal",
        tags=["prices"],
        opt=needs("operator"),
    )
    async def accept(
        request: AdminRequest, number: FromPath[int], data: JSONBody[Verdict]
    ) -> PriceChange:
        """Put a proposal in force from now on; every gateway process follows within a second."""

        async def work(connection: Connection) -> PriceChange:
            return await accept_proposal(
                connection,
                number,
                desk.tables,
                at=datetime.now(UTC),
                actor=request.user.name,
                comment=data.reason,
            )

        return await decide(work)

    @post(
        "/admin/proposals/{number:int}/refuse",
        operation_id="refusePriceProposal",
        tags=["prices"],
        status_code=200,
        opt=needs("operator"),
    )
    async def refuse(
        request: AdminRequest, number: FromPath[int], data: JSONBody[Verdict]
    ) -> StoredProposal:
        """Say no: the same list does not propose the same amounts again."""

        async def work(connection: Connection) -> StoredProposal:
            return await refuse_proposal(
                connection,
                number,
                at=datetime.now(UTC),
                actor=request.user.name,
                comment=data.reason,
            )

        return await decide(work)

    return [show, accept, refuse]
