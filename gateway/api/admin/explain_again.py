"""A logged request explained again: who would serve it now, as far as its record tells."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.api.admin.desk import ask_database
from gateway.api.roles import needs
from gateway.domain.errors import GatewayError, InvalidRequestError
from gateway.domain.ids import parse_generation_id, to_generation_id
from gateway.exchange import CHAT
from gateway.pipeline import Pipeline
from gateway.routing.explanation import Explanation
from gateway.routing.logged import LoggedRequest, NotReplayed, remember
from gateway.routing.rules.rule_set import RuleSet
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.replay_rows import read_callers, read_one_logged

_WHY_NOT = {
    NotReplayed.NO_FACTS: "it was recorded before decisions kept what was asked",
    NotReplayed.OWN_PROVIDERS: "it brought its providers along, and their addresses are not kept",
    NotReplayed.TOO_LONG: "it named more models, providers or parameters than a record keeps",
    NotReplayed.UNREADABLE: "its plan is of a form that this version does not know",
    NotReplayed.KEY_UNKNOWN: "its key is not in the database, so that its limits are not known",
}


class ExplainedAgain(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a logged request if it came now."""

    id: str
    """The request's, `gen-…`."""
    explanation: Explanation
    key_works: bool
    """False: the key was revoked or has expired, and its requests are refused."""
    asking_headers: tuple[str, ...]
    """Rules in force that ask for headers, which are never stored: it counts as having none."""


def admin_explain_again_routes(
    pipelines: Mapping[str, Pipeline], snapshots: SnapshotHolder, ask: Asker
) -> list[HTTPRouteHandler]:
    """``/admin/requests/{id}/explain``; ``pipelines`` by the name of their API."""

    @post(
        "/admin/requests/{request_id:str}/explain",
        operation_id="explainAgain",
        tags=["rules"],
        status_code=200,
        opt=needs("auditor"),
    )
    async def explain_again(request_id: FromPath[str]) -> ExplainedAgain:
        """Who would serve a logged request if it came now; nobody is asked, nothing is recorded.

        Rules, prices, health and budgets are those of now, the request is what its record kept of
        it: never a word of what it said, no headers, and of what tells its conversation only the
        session and the user.
        """
        logged = await ask_database(ask, _reading(request_id))
        found = remember(logged)
        if isinstance(found, NotReplayed):
            raise _not_explained(found)
        snapshot = snapshots.current
        working = next(
            (one for one in snapshot.callers.values() if one.key_id == logged.key_id), None
        )
        caller = working or (await ask_database(ask, read_callers)).get(logged.key_id)
        if caller is None:
            raise _not_explained(NotReplayed.KEY_UNKNOWN)
        pipeline = pipelines.get(found.plan.api, pipelines[CHAT.name])
        return ExplainedAgain(
            id=to_generation_id(logged.id),
            explanation=pipeline.explain(found.request, caller, is_estimated=True),
            key_works=working is not None,
            asking_headers=_asking_headers(snapshot.rules),
        )

    return [explain_again]


def _reading(text: str) -> Callable[[Connection], Awaitable[LoggedRequest]]:
    """Raises InvalidRequestError: that is not the id of a request."""
    try:
        request_id = parse_generation_id(text)
    except ValueError as exc:
        raise InvalidRequestError(str(exc), param="request_id") from exc

    async def read(connection: Connection) -> LoggedRequest:
        logged = await read_one_logged(connection, request_id)
        if logged is None:
            raise GatewayError(
                f"there is no request {to_generation_id(request_id)}; it may be older than what is "
                "kept, or not in the database yet",
                status=404,
                kind="invalid_request_error",
                code="request_not_found",
            )
        return logged

    return read


def _not_explained(why: NotReplayed) -> GatewayError:
    return GatewayError(
        f"this request cannot be explained again: {_WHY_NOT[why]}",
        status=409,
        kind="invalid_request_error",
        code=why.value,
    )


def _asking_headers(rules: RuleSet | None) -> tuple[str, ...]:
    if rules is None:
        return ()
    return tuple(rule.name for rule in rules.rules if rule.enabled and rule.when.headers)
