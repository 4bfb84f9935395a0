"""What is known of one request while it is served, and how its record is closed."""

import functools
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from gateway.chat.answer import ChunkFrame, Frame, render_completion
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.chat.routing_report import make_metadata, render_metadata
from gateway.chat.usage_report import render_usage
from gateway.domain.attempts import AttemptEnd, AttemptStart, OnAttemptEnd
from gateway.domain.errors import GatewayError
from gateway.domain.ids import to_generation_id
from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.execution.access import AccessBook
from gateway.execution.health import HealthBoard
from gateway.ledger.journal import Journal
from gateway.ledger.stream_guard import StreamGuard
from gateway.ledger.toll import Toll
from gateway.routing.engine import make_plan
from gateway.routing.explain import explain, explain_plan
from gateway.routing.explanation import Explanation
from gateway.routing.plan import Plan, PlanInputs
from gateway.routing.record import compact, without_plan
from gateway.routing.rules.apply import Ruled
from gateway.routing.rules.govern import refusal_of
from pricing.savings import Baseline, baseline_cost_usd

_GIVEN_UP = frozenset(
    {
        Outcome.CLIENT_CANCELLED,
        Outcome.GATEWAY_SHUTDOWN,
        Outcome.GATEWAY_ERROR,
        Outcome.REFUSED,
    }
)
_CLIENT_CLOSED = 499
_BROKEN = 500


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the APIs that are answered the same way."""

    name: str
    """In records."""
    make_plan: Callable[[ChatRequest, PlanInputs], Plan]
    render: Callable[..., bytes]
    """A whole answer; takes what `render_completion` takes."""
    frame: Callable[..., Frame] = ChunkFrame
    """The form of a stream; takes what `ChunkFrame` takes."""
    explain: Callable[[ChatRequest, PlanInputs, Ruled], Explanation] = explain
    """What `make_plan` decides, told in full."""
    render_usage: Callable[..., bytes] = render_usage
    """Usage and cost; takes what `render_usage` takes."""


_log = logging.getLogger("tollway.exchange")

Told = TypeVar("Told")

CHAT = Api(name="chat", make_plan=make_plan, render=render_completion)


class Exchange:
    """One request between its arrival and its record, which it closes exactly once."""

    __slots__ = (
        "_health",
        "_learn",
        "access_of",
        "api",
        "asked",
        "baseline",
        "echoes",
        "id",
        "inputs",
        "interruption",
        "journal",
        "mirror",
        "plan",
        "record",
        "repairs",
        "request",
        "ruled",
        "toll",
        "upstream_model",
        "warnings",
    )

    def __init__(
        self,
        request: ChatRequest,
        inputs: PlanInputs,
        journal: Journal,
        interruption: Interruption,
        *,
        access_of: AccessBook,
        health: HealthBoard | None,
        api: Api,
        ruled: Ruled | None = None,
        learn: OnAttemptEnd = lambda _: None,
        toll: Toll | None = None,
        baseline: Baseline | None = None,
        asked: ChatRequest | None = None,
    ) -> None:
        self.request = request
        self.asked = asked or request
        """As it came, before any rule."""
        self.access_of = access_of
        """How the endpoints of this request are reached."""
        self.api = api
        self.inputs = inputs
        self.ruled = ruled
        """What the operator's rules made of the request; None where none were asked."""
        self.baseline = baseline
        """What the operator compares costs with; None: nothing."""
        self.toll = toll
        """The limits and budgets of the caller; None without any."""
        self.journal = journal
        self.interruption = interruption
        self.mirror: Callable[[], object] | None = None
        """Sends a copy elsewhere once this request is over and was not given up."""
        self.plan: Plan | None = None
        self.record: RequestRecord | None = None
        self.upstream_model: str | None = None
        self.warnings = request.warnings
        self.repairs: tuple[str, ...] = ()
        self.echoes: list[bytes] = []
        """What providers were sent, for a caller that asked to be shown it."""
        self._health = health
        self._learn = learn
        self.id = to_generation_id(journal.facts.id)

    @property
    def created(self) -> int:
        return int(self.journal.facts.received_at.timestamp())

    @property
    def is_of_caller(self) -> bool:
        """Whether the request brought its providers, and their credentials, along."""
        return bool(self.request.provider_configs)

    @property
    def answered(self) -> AttemptRecord:
        """The attempt whose answer the client gets; there is one once a request succeeded."""
        attempts = self.journal.attempts
        # One that was asked beside it may have ended later.
        return next(a for a in reversed(attempts) if a.outcome is Outcome.SUCCESS)

    def shown_model(self, used: str) -> str:
        """What the answer calls its model: the FastAPI dialect echoes what was asked for."""
        asked_for = self.journal.facts.requested_model
        echoes = self.request.dialect is Dialect.FASTAPI and asked_for
        return asked_for if echoes else used

    def check_rules(self) -> None:
        """Go on unless a rule denies the request.

        Raises:
            PermissionDeniedError: one does, with the operator's message.
        """
        if self.ruled is not None and self.ruled.denial is not None:
            raise refusal_of(self.ruled.denial)

    def begin_attempt(self, start: AttemptStart) -> None:
        self._cover(start)
        if self._health is not None:
            _tell(self._health.begin, start)

    def _cover(self, start: AttemptStart) -> None:
        """Write that an attempt begins, once budgets cover it; mirrored ones are the operator's."""
        toll = self.toll
        if toll is None or start.kind == "shadow":
            self.journal.begin(start)
            return
        reservation = toll.begin(start)
        try:
            self.journal.begin(start, reservation)
        except BaseException:
            toll.cancel(start)
            raise

    def guard(self, start: AttemptStart) -> StreamGuard | None:
        """What keeps a stream within what budgets hold; None where none limits its caller."""
        if self.toll is None:
            return None
        return self.toll.guard(start, self.request, functools.partial(self.journal.begin, start))

    def end_attempt(self, end: AttemptEnd) -> None:
        attempt = self.journal.end(end)
        if self.toll is not None:
            self.toll.end(attempt)
        if self._health is not None:
            _tell(self._health.report, end)
        _tell(self._learn, end)
        if end.echo is not None:
            self.echoes.append(end.echo)

    def end_shadow(self, end: AttemptEnd) -> None:
        """The copy was asked after the record was written: it is remembered apart."""
        self.journal.end_late(end)
        if self._health is not None:
            _tell(self._health.report, end)

    def echoes_with(self, served: bytes | None) -> list[bytes]:
        """What every provider was sent, the one that answers last."""
        return self.echoes if served is None else [*self.echoes, served]

    def warn(self, warnings: tuple[str, ...]) -> None:
        if warnings or self.warnings:
            self.warnings = tuple(dict.fromkeys((*self.warnings, *warnings)))

    def close(self, outcome: Outcome, status_code: int, *, error_kind: str | None = None) -> None:
        """Settle and write the record."""
        plan = self.plan
        self.journal.warnings = self.warnings
        toll = self.toll
        try:
            self.record = self.journal.close(
                outcome=outcome,
                status_code=status_code,
                error_kind=error_kind,
                plan=self._compact_plan(),
                requested_provider=plan.requested_provider if plan is not None else None,
                underlying_used_model=self.upstream_model,
                baseline_cost_usd=self._baseline_cost_usd(),
                charge=None if toll is None else toll.charge,
            )
        finally:
            if toll is not None:
                toll.close()
        mirror, self.mirror = self.mirror, None
        if mirror is not None and outcome not in _GIVEN_UP:
            mirror()

    def _baseline_cost_usd(self) -> Decimal | None:
        """What the answer would have cost elsewhere, where the operator compares."""
        baseline, plan = self.baseline, self.plan
        if baseline is None or plan is None:
            return None
        attempts = reversed(self.journal.attempts)
        answered = next((a for a in attempts if a.outcome is Outcome.SUCCESS), None)
        catalogue = self.inputs.catalogue
        served = catalogue.endpoints_by_id.get(answered.endpoint) if answered else None
        if answered is None or answered.usage is None or served is None:
            return None
        return baseline_cost_usd(
            baseline,
            usage=answered.usage,
            served=served,
            candidates=plan.candidates,
            catalogue=catalogue,
            at=answered.started_at,
        )

    def _compact_plan(self) -> dict[str, object]:
        if self.plan is not None:
            compacted = compact(self.plan, self.request, self.inputs, self.asked)
        else:
            compacted = without_plan(self.asked, self.inputs.seed)
        if self.ruled is not None and self.ruled.rules:
            arm = {"mode_in_arm": compacted["mode"]} if "mode" in compacted else {}
            compacted = {**compacted, **self.ruled.compact(), **(arm if self.ruled.splits else {})}
        if self.is_of_caller:
            named = [one.provider for one in self.request.provider_configs]
            compacted = {**compacted, "provider_configs": named}
        return compacted if self.api is CHAT else {"api": self.api.name, **compacted}

    def close_with(self, error: GatewayError) -> None:
        """No endpoint answered, or none was allowed to."""
        if self.toll is not None:
            self.toll.explain(error)
        attempts = self.journal.attempts
        outcome = attempts[-1].outcome if attempts else Outcome.REFUSED
        self.close(outcome, error.status, error_kind=error.code or error.kind)
        error.metadata["generation_id"] = self.id
        if error.retry_after_s is not None:
            error.metadata.setdefault("retry_after", round(error.retry_after_s, 3))

    def close_interrupted(self) -> None:
        """The caller hung up, its key was revoked, or the gateway is going down."""
        interruption = self.interruption
        if not interruption.is_told:
            self.close(interruption.outcome, _CLIENT_CLOSED)
            return
        error = interruption.farewell()
        self.close(interruption.outcome, error.status, error_kind=error.code)

    @property
    def is_abandoned(self) -> bool:
        """The caller hung up before the stream was over."""
        return not self.journal.is_closed and not self.interruption.is_told

    def close_broken(self) -> None:
        """A bug of ours; what was spent until it struck is remembered all the same."""
        if not self.journal.is_closed:
            self.close(Outcome.GATEWAY_ERROR, _BROKEN, error_kind="internal_error")

    def _requested_model(self) -> str:
        """What was asked for, without a pinned provider; rules may have put another in place."""
        if self.ruled is not None and self.ruled.has_other_models:
            return self.journal.facts.requested_model
        return self.plan.requested_model if self.plan is not None else ""

    def _explained(self) -> bytes | None:
        if self.plan is None or not self.request.explains_plan:
            return None
        return msgspec.json.encode(explain_plan(self.plan, self.request, self.inputs, self.ruled))

    def metadata(self) -> bytes:
        plan, record = self.plan, self.record
        return render_metadata(
            make_metadata(
                requested_model=self._requested_model(),
                requested_provider=plan.requested_provider if plan else None,
                attempts=record.attempts if record else self.journal.attempts,
                underlying_used_model=record.underlying_used_model if record else None,
                strategy=plan.strategy if plan else None,
                warnings=self.warnings,
                repairs=self.repairs,
                pool=plan.pool if plan else (),
                plan=self._explained(),
            )
        )


def _tell(listener: Callable[[Told], object], what: Told) -> None:
    """What others learn from a request is never worth failing it."""
    try:
        listener(what)
    except Exception:  # noqa: BLE001 - said aloud, and the request goes on
        _log.exception("what an attempt showed could not be taken note of")
