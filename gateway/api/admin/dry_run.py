"""The dry run over the admin API: who would serve a request, for a key, under rules to be tried."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import Meta

from gateway.api.admin.desk import not_found
from gateway.api.admin.rules import RulesDesk, invalid_rules
from gateway.api.roles import needs
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.domain.caller import Caller
from gateway.pipeline import Pipeline
from gateway.routing.explanation import Explanation
from gateway.snapshot.snapshot import SnapshotHolder

_NOBODY = Caller(key_id=UUID(int=0), kid="dry-run", name="dry run")


class DryRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to be tried."""

    request: dict[str, Any]
    """As `/v1/chat/completions` takes it; nothing of it is stored or sent anywhere."""
    kid: Annotated[str, Meta(description="the public part of a key")] | None = None
    """Whose request it would be; None is a key that may do everything and has no labels."""
    rules: str | None = None
    """TOML that would be in force; None takes what is."""


def admin_dry_run_routes(
    pipeline: Pipeline, snapshots: SnapshotHolder, desk: RulesDesk
) -> list[HTTPRouteHandler]:
    """``/admin/explain``."""

    @post(
        "/admin/explain",
        operation_id="explainAsKey",
        tags=["rules"],
        status_code=200,
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def explain(data: JSONBody[DryRun]) -> Explanation:
        """Who would serve a request and why, without asking anybody to; nothing is recorded."""
        caller = _NOBODY if data.kid is None else _caller_of(data.kid, snapshots)
        asked = decode_chat_request(
            msgspec.json.encode(data.request), dialect=Dialect.OPENAI, headers={}
        )
        if data.rules is None:
            return pipeline.explain(asked, caller)
        rules, verdict = desk.check(data.rules)
        if rules is None or not verdict.valid:
            raise invalid_rules(verdict, param="rules")
        return pipeline.explain(asked, caller, rules=rules)

    return [explain]


def _caller_of(kid: str, snapshots: SnapshotHolder) -> Caller:
    for caller in snapshots.current.callers.values():
        if caller.kid == kid:
            return caller
    raise not_found(f"key {kid!r} that works", "GET /admin/keys", code="key_not_found")
