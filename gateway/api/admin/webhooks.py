"""Webhooks over the admin API: create (the secret is shown once), list, test, delete."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter

from gateway.api.admin.desk import ask_database, not_found, refused
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError
from gateway.domain.notices import NoticeKind
from gateway.domain.wishes import WishError
from gateway.notices.sending import Courier, trial_event
from gateway.storage.asking import Asker
from gateway.storage.webhooks import (
    StoredWebhook,
    WebhookState,
    add_webhook,
    delete_webhook,
    list_webhooks,
    read_states,
)

Id = Annotated[UUID, Parameter(description="of the webhook")]


class WebhookWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new webhook."""

    url: str
    kinds: tuple[NoticeKind, ...] = ()
    """Of notices; empty means all."""


class CreatedWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was just made."""

    webhook: StoredWebhook
    secret: str
    """To verify signatures with; it cannot be shown again."""

    def __repr__(self) -> str:
        return f"CreatedWebhook({self.webhook.id})"


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    """Every webhook, oldest first."""

    data: list[WebhookState]


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver made of an event of the kind ``test``."""

    delivered: bool
    status_code: int | None
    problem: str | None


def admin_webhook_routes(ask: Asker, courier: Courier) -> list[HTTPRouteHandler]:
    """``/admin/webhooks``."""

    @get("/admin/webhooks", operation_id="listWebhooks", tags=["webhooks"], opt=needs("owner"))
    async def show() -> WebhookList:
        """Every webhook and how it fares; never its secret."""
        return WebhookList(data=await ask_database(ask, read_states))

    @post("/admin/webhooks", operation_id="createWebhook", tags=["webhooks"], opt=needs("owner"))
    async def create(request: AdminRequest, data: JSONBody[WebhookWish]) -> CreatedWebhook:
        """Make a webhook, which is told of what comes from now on."""
        try:
            courier.check(data.url)
        except WishError as exc:
            raise refused(exc) from exc
        made = await ask_database(
            ask,
            lambda connection: add_webhook(
                connection,
                url=data.url,
                kinds=data.kinds,
                at=datetime.now(UTC),
                actor=request.user.name,
            ),
        )
        return CreatedWebhook(webhook=made, secret=courier.secret(made.id))

    @post(
        "/admin/webhooks/{webhook_id:uuid}/test",
        operation_id="testWebhook",
        tags=["webhooks"],
        status_code=200,
        opt=needs("owner"),
    )
    async def try_out(webhook_id: Id) -> TrialResult:
        """Send it an event of the kind `test` now, once, and tell what came of it."""
        hooks = await ask_database(ask, list_webhooks)
        hook = next((one for one in hooks if one.id == webhook_id), None)
        if hook is None:
            raise _unknown(webhook_id)
        outcome = await courier.send(hook.id, hook.url, trial_event())
        return TrialResult(
            delivered=outcome.is_delivered,
            status_code=outcome.status_code,
            problem=outcome.problem,
        )

    @delete(
        "/admin/webhooks/{webhook_id:uuid}",
        operation_id="deleteWebhook",
        tags=["webhooks"],
        status_code=200,
        opt=needs("owner"),
    )
    async def remove(request: AdminRequest, webhook_id: Id) -> StoredWebhook:
        """Delete a webhook and what is on its way to it."""
        gone = await ask_database(
            ask,
            lambda connection: delete_webhook(
                connection, webhook_id, at=datetime.now(UTC), actor=request.user.name
            ),
        )
        if gone is None:
            raise _unknown(webhook_id)
        return gone

    return [show, create, try_out, remove]


def _unknown(webhook_id: UUID) -> GatewayError:
    return not_found(f"webhook {webhook_id}", "GET /admin/webhooks", code="webhook_not_found")
