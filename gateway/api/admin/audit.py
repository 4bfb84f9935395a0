"""The audit log over the admin API: who changed what, from what, to what."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from gateway.api.admin.desk import ask_database
from gateway.api.roles import needs
from gateway.storage.asking import Asker
from gateway.storage.audit import AuditEntry, list_entries

_MOST = 500


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first."""

    data: list[AuditEntry]
    next_before: int | None = None
    """For ``before``, to read on; None at the end."""


def admin_audit_routes(ask: Asker) -> list[HTTPRouteHandler]:
    """``/admin/audit``."""

    @get("/admin/audit", operation_id="listAuditEntries", tags=["audit"], opt=needs("auditor"))
    async def show(
        before: Annotated[
            int | None, Parameter(description="only entries older than the one of this id", ge=1)
        ] = None,
        limit: Annotated[int, Parameter(ge=1, le=_MOST)] = 100,
        actor: Annotated[str | None, Parameter(description="who did it", max_length=256)] = None,
        subject: Annotated[
            str | None, Parameter(description="to what it was done", max_length=1_024)
        ] = None,
        action: Annotated[
            str | None, Parameter(description="such as `key.create`", max_length=64)
        ] = None,
    ) -> AuditPage:
        """What was changed, by whom, with the public state before and after it."""
        found = await ask_database(
            ask,
            lambda connection: list_entries(
                connection,
                before_id=before,
                limit=limit,
                actor=actor,
                subject=subject,
                action=action,
            ),
        )
        return AuditPage(data=found, next_before=found[-1].id if len(found) == limit else None)

    return [show]
