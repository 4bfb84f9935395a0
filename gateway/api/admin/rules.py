"""Rules over the admin API: look at them, check and compare a text, apply it, roll back."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError, InvalidRequestError, OverloadedError
from gateway.routing.rules.diff import RuleSetDiff, describe, diff
from gateway.routing.rules.problems import Problem, RulesError
from gateway.routing.rules.references import check_references
from gateway.routing.rules.rule_set import NO_RULES, RuleSet, compile_rules
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.rule_sets import (
    EMPTY_VERSION,
    StoredRuleSet,
    active_rule_set,
    add_rule_set,
    list_rule_sets,
    roll_back,
)
from gateway.storage.waiting import DatabaseUnavailableError

T = TypeVar("T")
Origin = Literal["file", "database"]
_TEXT = "rules.toml"
_MOST_VERSIONS = 100


class RulesText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text of rules."""

    source: str
    """TOML."""
    comment: Annotated[str, Meta(max_length=1_000)] | None = None
    """For the history."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a text."""

    valid: bool
    version: str | None = None
    """Of the rules, as records will carry it; None when they cannot be compiled."""
    rules: int = 0
    problems: tuple[Problem, ...] = ()
    """Errors and warnings; without errors the text can be applied."""


class ShownRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule in force."""

    name: str
    members: dict[str, Any]
    """By dotted name."""


class RulesInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What holds in the worker that answers."""

    origin: Origin
    path: str | None
    """Of the file, where rules come from one."""
    version: str | None
    """None without rules."""
    problem: str | None
    """What keeps newer rules from coming into force; None when nothing does."""
    rules: tuple[ShownRule, ...]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Versions, newest first."""

    data: list[StoredRuleSet]
    active: StoredRuleSet | None = None
    """What is in force, listed or not; None when nothing ever was."""


class RulesDesk:
    """What the routes work with."""

    def __init__(self, ask: Asker, snapshots: SnapshotHolder, path: Path | None) -> None:
        self._ask = ask
        self._snapshots = snapshots
        self.path = path

    @property
    def in_force(self) -> RulesInForce:
        current = self._snapshots.current
        rules = current.rules or NO_RULES
        return RulesInForce(
            origin="database" if self.path is None else "file",
            path=None if self.path is None else str(self.path),
            version=rules.version,
            problem=current.rules_problem,
            rules=tuple(ShownRule(name=rule.name, members=describe(rule)) for rule in rules.rules),
        )

    @property
    def rules(self) -> RuleSet:
        return self._snapshots.current.rules or NO_RULES

    def check(self, text: str) -> tuple[RuleSet | None, Verdict]:
        """Compile a text and look for what it names."""
        try:
            rules = compile_rules(text, source=_TEXT)
        except RulesError as exc:
            return None, Verdict(valid=False, problems=exc.problems)
        current = self._snapshots.current
        problems = check_references(rules, current.catalogue, text=text, aliases=current.aliases)
        return rules, Verdict(
            valid=not any(problem.severity == "error" for problem in problems),
            version=rules.version,
            rules=len(rules.rules),
            problems=tuple(problems),
        )

    def check_changeable(self) -> None:
        """Go on when a change in the database would have an effect.

        Raises:
            GatewayError: the rules come from a file.
        """
        if self.path is not None:
            raise GatewayError(
                f"the rules come from the file {self.path}: change the file, or take the setting "
                "`rules` (TOLLWAY_RULES) away to use rule sets in the database",
                status=409,
                kind="invalid_request_error",
                code="rules_in_file",
            )

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


def admin_rule_routes(desk: RulesDesk) -> list[HTTPRouteHandler]:
    """``/admin/rules``."""

    @get(
        "/admin/rules",
        operation_id="showRules",
        tags=["rules"],
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def show() -> RulesInForce:
        """The rules in force, and what keeps newer ones from coming into force."""
        return desk.in_force

    @post(
        "/admin/rules/check",
        operation_id="checkRules",
        tags=["rules"],
        status_code=200,
        opt=needs("auditor"),
    )
    async def check(data: JSONBody[RulesText]) -> Verdict:
        """What is wrong with a text, each with its line; changes nothing."""
        return desk.check(data.source)[1]

    @post(
        "/admin/rules/diff",
        operation_id="diffRules",
        tags=["rules"],
        status_code=200,
        opt=needs("auditor"),
    )
    async def compare(data: JSONBody[RulesText]) -> RuleSetDiff:
        """What would change if a text were applied, rule by rule."""
        rules, verdict = desk.check(data.source)
        if rules is None:
            raise invalid_rules(verdict)
        return diff(desk.rules, rules)

    @post(
        "/admin/rules",
        operation_id="applyRules",
        tags=["rules"],
        status_code=200,
        opt=needs("operator"),
    )
    async def apply(request: AdminRequest, data: JSONBody[RulesText]) -> StoredRuleSet:
        """Put a text in force as a new version; every gateway process follows within a second."""
        desk.check_changeable()
        rules, verdict = desk.check(data.source)
        if rules is None or not verdict.valid:
            raise invalid_rules(verdict)
        version = rules.version or EMPTY_VERSION
        return await desk.ask(
            lambda connection: add_rule_set(
                connection,
                source=data.source,
                version=version,
                comment=data.comment,
                at=datetime.now(UTC),
                actor=request.user.name,
            )
        )

    @get(
        "/admin/rules/history",
        operation_id="listRuleSets",
        tags=["rules"],
        opt=needs("auditor"),
    )
    async def history(
        before: Annotated[
            int | None, Parameter(description="only versions with a lower number", ge=1)
        ] = None,
        limit: Annotated[int, Parameter(ge=1, le=_MOST_VERSIONS)] = _MOST_VERSIONS,
    ) -> History:
        """The versions in the database, newest first, with their texts; at most 100."""

        async def look(connection: Connection) -> History:
            found = await list_rule_sets(connection, limit=limit, before=before)
            active = next((one for one in found if one.is_active), None)
            return History(data=found, active=active or await active_rule_set(connection))

        return await desk.ask(look)

    @post(
        "/admin/rules/rollback",
        operation_id="rollBackRules",
        tags=["rules"],
        status_code=200,
        opt=needs("operator"),
    )
    async def rollback(
        request: AdminRequest,
        number: Annotated[
            int | None, Parameter(description="a version's number; default: the one before")
        ] = None,
        note: Annotated[
            str | None, Parameter(description="why, for the audit log", max_length=1_000)
        ] = None,
    ) -> StoredRuleSet:
        """Put an earlier version in force again."""
        desk.check_changeable()
        found = await desk.ask(
            lambda connection: roll_back(
                connection, number, at=datetime.now(UTC), actor=request.user.name, note=note
            )
        )
        if found is None:
            raise GatewayError(
                "there is no such version; GET /admin/rules/history lists them",
                status=404,
                kind="invalid_request_error",
                code="rule_set_not_found",
            )
        return found

    return [show, check, compare, apply, history, rollback]


def invalid_rules(verdict: Verdict, *, param: str = "source") -> InvalidRequestError:
    """The refusal of a text that cannot be applied, with everything that is wrong with it."""
    errors = [problem for problem in verdict.problems if problem.severity == "error"]
    return InvalidRequestError(
        "\n".join(map(str, errors)),
        param=param,
        code="invalid_rules",
        metadata={"problems": msgspec.to_builtins(errors)},
    )
