"""Budgets over the admin API: look at them, make one, change it, delete it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from litestar import delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter

from gateway.api.admin.desk import ask_database, not_found
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError
from gateway.storage.asking import Asker
from gateway.storage.budget_changes import BudgetChange, change_budget
from gateway.storage.budget_issue import BudgetWish, issue_budget
from gateway.storage.budget_views import BudgetView, view_budget, view_budgets
from gateway.storage.budgets import delete_budget, release_expired
from gateway.storage.engine import Connection
from pricing.cost import from_nano_usd

Name = Annotated[str, Parameter(description="of the budget, or its id", max_length=128)]


class BudgetList(msgspec.Struct, frozen=True, kw_only=True):
    """Every budget, by name."""

    data: list[BudgetView]


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """What was given back."""

    released_usd: Decimal


def admin_budget_routes(ask: Asker) -> list[HTTPRouteHandler]:
    """``/admin/budgets``."""

    @get("/admin/budgets", operation_id="listBudgets", tags=["budgets"], opt=needs("auditor"))
    async def show_all() -> BudgetList:
        """Every budget in its window of now: what is spent, held by workers, and left."""
        now = datetime.now(UTC)
        return BudgetList(data=await ask_database(ask, lambda c: view_budgets(c, now)))

    @get(
        "/admin/budgets/{name:str}",
        operation_id="getBudget",
        tags=["budgets"],
        opt=needs("auditor"),
    )
    async def show(name: Name) -> BudgetView:
        """One budget in its window of now."""
        now = datetime.now(UTC)
        return _found(await ask_database(ask, lambda c: view_budget(c, name, now)), name)

    @post("/admin/budgets", operation_id="createBudget", tags=["budgets"], opt=needs("operator"))
    async def create(request: AdminRequest, data: JSONBody[BudgetWish]) -> BudgetView:
        """Make a budget; every gateway process enforces it within a second.

        It counts what requests cost that begin from then on.
        """

        async def make(connection: Connection) -> BudgetView | None:
            made = await issue_budget(connection, data, actor=request.user.name)
            return await view_budget(connection, made.name, made.created_at)

        return _found(await ask_database(ask, make), data.name)

    @patch(
        "/admin/budgets/{name:str}",
        operation_id="changeBudget",
        tags=["budgets"],
        opt=needs("operator"),
    )
    async def change(request: AdminRequest, name: Name, data: JSONBody[BudgetChange]) -> BudgetView:
        """Change a budget's limit, mode or strictness; what is left out stays.

        Its window and whose spending it limits stay as they are: make another budget for them. What
        workers hold of it may still be spent.
        """

        async def work(connection: Connection) -> BudgetView | None:
            now = datetime.now(UTC)
            changed = await change_budget(connection, name, data, at=now, actor=request.user.name)
            return None if changed is None else await view_budget(connection, str(changed.id), now)

        return _found(await ask_database(ask, work), name)

    @post(
        "/admin/budgets/{name:str}/release",
        operation_id="releaseBudget",
        tags=["budgets"],
        status_code=200,
        opt=needs("operator"),
    )
    async def release(request: AdminRequest, name: Name) -> Released:
        """Give back what workers hold that were not heard of for too long.

        For nodes that are gone with their disks: whatever they spent of it is beyond the limit.
        """
        now = datetime.now(UTC)
        released_nusd = await ask_database(
            ask, lambda c: release_expired(c, name, at=now, actor=request.user.name)
        )
        if released_nusd is None:
            raise _missing(name)
        return Released(released_usd=from_nano_usd(released_nusd))

    @delete(
        "/admin/budgets/{name:str}",
        operation_id="deleteBudget",
        tags=["budgets"],
        status_code=200,
        opt=needs("operator"),
    )
    async def remove(request: AdminRequest, name: Name) -> BudgetView:
        """Delete a budget; what it counted stays in the database."""
        now = datetime.now(UTC)

        async def work(connection: Connection) -> BudgetView | None:
            view = await view_budget(connection, name, now)
            await delete_budget(connection, name, at=now, actor=request.user.name)
            return view

        return _found(await ask_database(ask, work), name)

    return [show_all, show, create, change, release, remove]


def _found(view: BudgetView | None, name: str) -> BudgetView:
    if view is None:
        raise _missing(name)
    return view


def _missing(name: str) -> GatewayError:
    return not_found(f"budget {name!r}", "GET /admin/budgets", code="budget_not_found")
