"""A made-up hour: its requests planned by the real routing, settled by the real ledger.

The same world and hour give the same records, so that an hour that was stored by halves can be
stored again.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec

from gateway.chat.preferences import ProviderPreferences
from gateway.chat.request import ChatRequest, Need
from gateway.demo.attempts import PACES, Ask, attempt, began_at
from gateway.demo.scenario import HABITS, Habit, Incident
from gateway.demo.timetable import Slot
from gateway.domain.attempts import AttemptStart
from gateway.domain.budgets import Budget, BudgetWindow, Charge, window_of
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError
from gateway.domain.ids import RequestIds
from gateway.domain.outcomes import CONSEQUENCES, Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.ledger.settle import RequestEnd, RequestFacts, settle_attempt, settle_request
from gateway.routing.engine import make_plan
from gateway.routing.plan import EndpointHealth, Percentiles, Plan, PlanInputs
from gateway.routing.record import compact, without_plan
from gateway.routing.rules.govern import govern, refusal_of
from gateway.routing.rules.rule_set import NO_RULES, RuleSet
from gateway.version import CODE_VERSION
from pricing.catalogue import Catalogue
from pricing.cost import compute_cost, to_nano_usd
from pricing.price import resolve

_NOW_MS = 1_000_000.0
_BYTES_PER_TOKEN = 4
_MOST_ATTEMPTS = 3
_ASKED_IN_SPITE = 0.35
"""Share of the requests of an outage that ask a provider although it rests: probes, and the first
ones before anybody noticed."""
_HANG_UPS = 0.018
_FILTERED = 0.0012
_TASKS = ("summary", "answer", "classification", "draft", "review")
_CAPS = (256, 512, 1_024, 2_048, 4_096)
_CLIENT_CLOSED = 499
_TIMEOUTS = frozenset({Outcome.FIRST_TOKEN_TIMEOUT, Outcome.CONNECT_TIMEOUT})
_REASONING_MODELS = frozenset({"simulated/reason", "simulated/smart", "simulated/code"})


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of the demo meet."""

    seed: int
    catalogue: Catalogue
    """With every change of prices in it, dated."""
    callers: tuple[Caller, ...]
    """By the places of `HABITS`."""
    budgets: tuple[Budget, ...]
    rules: tuple[tuple[datetime, RuleSet], ...]
    """Since when each was in force, the earliest first."""
    incidents: tuple[Incident, ...]


class Author:
    """Writes the records of a world, hour by hour."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._health: dict[tuple[tuple[str, str], ...], dict[str, EndpointHealth]] = {}
        self._budgets = [
            tuple(budget for budget in world.budgets if budget.applies_to(caller))
            for caller in world.callers
        ]

    def hour(self, slot: Slot) -> Iterator[RequestRecord]:
        """The records of an hour, in the order in which their requests came."""
        chance = random.Random(f"{self.world.seed}/{slot.number}")  # noqa: S311 - no secret
        lasts_s = (slot.until - slot.since).total_seconds()
        arrivals = sorted(
            (chance.random() * lasts_s, place)
            for place, count in enumerate(slot.counts)
            for _ in range(count)
        )
        ids = RequestIds()
        under_way = [
            incident
            for incident in self.world.incidents
            if incident.since < slot.until and slot.since < incident.until
        ]
        for after_s, place in arrivals:
            at = slot.since + timedelta(seconds=after_s)
            # To the millisecond, as the id has it.
            at = at.replace(microsecond=at.microsecond // 1_000 * 1_000)
            request_id = ids.next(
                unix_ms=round(at.timestamp() * 1_000), random_bits=chance.getrandbits(62)
            )
            yield self._record(request_id, at, place, chance, began_at(under_way, at))

    def _record(
        self,
        request_id: UUID,
        at: datetime,
        place: int,
        chance: random.Random,
        under_way: Sequence[Incident],
    ) -> RequestRecord:
        habit, world = HABITS[place], self.world
        ask = _ask(habit, chance)
        request = _request(habit, ask, chance, at)
        inputs = PlanInputs(
            catalogue=world.catalogue,
            caller=world.callers[place],
            at=at,
            now_ms=_NOW_MS,
            health=self._seen(under_way, chance),
            aliases={},
            configured_models=frozenset(world.catalogue.endpoints_by_model),
            seed=chance.getrandbits(53),
        )
        overhead_ms = math.exp(chance.gauss(-0.2, 0.35))
        facts = RequestFacts(
            id=request_id,
            received_at=at,
            key_id=inputs.caller.key_id,
            labels=inputs.caller.labels,
            dialect=request.dialect.value,
            stream=request.stream,
            requested_model=request.models[0],
            user=request.user,
            session_id=request.session_id,
            tags=request.labels,
            rule_version=self._rules_at(at).version,
            catalogue_version=world.catalogue.version,
            code_version=CODE_VERSION,
        )
        remembered = without_plan(request, inputs.seed)
        try:
            ruled, inputs = govern(
                self._rules_at(at), request, inputs, headers={}, secret_salt=b"demo", api="chat"
            )
            remembered |= ruled.compact()
            if ruled.denial is not None:
                raise refusal_of(ruled.denial)
            plan = make_plan(ruled.request, inputs)
        except GatewayError as error:
            end = RequestEnd(
                status_code=error.status,
                outcome=Outcome.REFUSED,
                error_kind=error.code or error.kind,
                duration_ms=round(overhead_ms, 3),
                plan=remembered,
            )
            return settle_request(facts, end, ())
        remembered |= compact(plan, ruled.request, inputs, request)
        attempts = self._attempts(
            plan,
            ask,
            begins=at + timedelta(milliseconds=overhead_ms),
            prompt_tokens_estimate=request.prompt_tokens_estimate,
            chance=chance,
            under_way=under_way,
        )
        return self._settled(
            facts, plan, attempts, remembered=remembered, overhead_ms=overhead_ms, place=place
        )

    def _attempts(
        self,
        plan: Plan,
        ask: Ask,
        *,
        begins: datetime,
        prompt_tokens_estimate: int,
        chance: random.Random,
        under_way: Sequence[Incident],
    ) -> list[AttemptRecord]:
        attempts: list[AttemptRecord] = []
        for number, candidate in enumerate(plan.candidates[:_MOST_ATTEMPTS], start=1):
            start = AttemptStart(
                number=number,
                kind="primary" if number == 1 else "fallback",
                endpoint=candidate.endpoint,
                price=candidate.price,
                started_at=begins,
            )
            end = attempt(start, ask, chance, under_way)
            attempts.append(settle_attempt(end, prompt_tokens_estimate=prompt_tokens_estimate))
            # Once the caller has seen a part of an answer, nobody else can give the rest.
            if end.text_bytes or not CONSEQUENCES[end.outcome].next_endpoint:
                break
            begins += timedelta(milliseconds=end.duration_ms + 0.4)
        return attempts

    def _settled(
        self,
        facts: RequestFacts,
        plan: Plan,
        attempts: list[AttemptRecord],
        *,
        remembered: dict[str, object],
        overhead_ms: float,
        place: int,
    ) -> RequestRecord:
        last = attempts[-1]
        before_ms = (last.started_at - facts.received_at).total_seconds() * 1_000
        status_code, error_kind = _told(last)
        windows = tuple(
            BudgetWindow(budget=budget.id, since=window_of(budget.period, facts.received_at).since)
            for budget in self._budgets[place]
        )
        end = RequestEnd(
            status_code=status_code,
            outcome=last.outcome,
            error_kind=error_kind,
            requested_provider=plan.requested_provider,
            ttft_ms=None if last.ttft_ms is None else round(before_ms + last.ttft_ms, 3),
            duration_ms=round(before_ms + last.duration_ms + 0.3, 3),
            overhead_ms=round(overhead_ms, 3),
            plan=remembered,
        )
        record = settle_request(facts, end, attempts)
        charge = None
        if windows and record.cost_usd:
            charge = Charge(windows=windows, nusd=to_nano_usd(record.cost_usd))
        dearest = self._at_the_dearest(plan, record)
        return msgspec.structs.replace(record, charge=charge, baseline_cost_usd=dearest)

    def _at_the_dearest(self, plan: Plan, record: RequestRecord) -> Decimal | None:
        """What the answer would have cost at the dearest endpoint that could have given it."""
        last = record.attempts[-1]
        if record.used_endpoint is None or last.usage is None:
            return None
        priced = [one for one in plan.candidates if one.expected_cost_usd is not None]
        if not priced:
            return None
        dearest = max(priced, key=lambda one: one.expected_cost_usd or 0)
        price = resolve(
            dearest.endpoint, at=last.started_at, prompt_tokens=last.usage.prompt_tokens
        )
        return compute_cost(last.usage, price).total_usd

    def _rules_at(self, at: datetime) -> RuleSet:
        in_force = NO_RULES
        for since, rules in self.world.rules:
            if since <= at:
                in_force = rules
        return in_force

    def _seen(
        self, under_way: Sequence[Incident], chance: random.Random
    ) -> Mapping[str, EndpointHealth]:
        """What this gateway would have known of the endpoints' health."""
        troubles = tuple(
            (incident.provider, incident.trouble)
            for incident in under_way
            if incident.trouble == "slow" or chance.random() >= _ASKED_IN_SPITE
        )
        known = self._health.get(troubles)
        if known is None:
            known = self._health[troubles] = {
                endpoint.id: _health(endpoint.provider, dict(troubles).get(endpoint.provider))
                for endpoint in self.world.catalogue.endpoints_by_id.values()
            }
        return known


def _health(provider: str, trouble: str | None) -> EndpointHealth:
    pace = PACES[provider]
    factor = 2.7 if trouble == "slow" else 1.0
    rests_until_ms = _NOW_MS + 18_000
    return EndpointHealth(
        latency_ms=_percentiles(pace.first_token_ms * factor, pace.sigma),
        throughput_tokens_per_s=_percentiles(pace.tokens_per_s / factor, -0.22),
        uptime=0.61 if trouble == "outage" else round(1 - pace.failures, 4),
        open_until_ms=rests_until_ms if trouble == "outage" else None,
        has_recent_outage=trouble == "outage",
        cooling_until_ms=rests_until_ms if trouble == "limits" else None,
        is_rate_limited=trouble == "limits",
    )


def _percentiles(median: float, sigma: float) -> Percentiles:
    p50, p75, p90, p99 = (
        round(median * math.exp(z * sigma), 1) for z in (0.0, 0.674, 1.282, 2.326)
    )
    return Percentiles(p50=p50, p75=p75, p90=p90, p99=p99)


def _ask(habit: Habit, chance: random.Random) -> Ask:
    prompt, answer = habit.prompt_tokens, habit.answer_tokens
    cap = chance.choice(_CAPS) if chance.random() < 0.6 else None  # noqa: PLR2004
    answer_tokens = max(1, int(answer.median * math.exp(chance.gauss(0.0, answer.sigma))))
    is_stream = chance.random() < habit.stream
    return Ask(
        prompt_tokens=min(
            180_000, max(8, int(prompt.median * math.exp(chance.gauss(0.0, prompt.sigma))))
        ),
        answer_tokens=answer_tokens,
        max_tokens=cap,
        reasoning_tokens=int(answer_tokens * chance.uniform(0.4, 3.0)),
        cached_share=chance.uniform(0.35, 0.9) if chance.random() < habit.cached else 0.0,
        is_stream=is_stream,
        calls_tool=chance.random() < habit.tools * 0.5,
        hangs_up_after=chance.random() if is_stream and chance.random() < _HANG_UPS else None,
        is_filtered=habit.users > 0 and chance.random() < _FILTERED,
    )


def _request(habit: Habit, ask: Ask, chance: random.Random, at: datetime) -> ChatRequest:
    names, weights = zip(*habit.models, strict=True)
    model: str = chance.choices(names, weights)[0]
    needs: set[Need] = set()
    if chance.random() < habit.tools:
        needs.add("tools")
    if chance.random() < habit.schema:
        needs.add("structured_outputs")
    if model == "simulated/vision":
        needs.add("vision")
    if model in _REASONING_MODELS and chance.random() < 0.4:  # noqa: PLR2004
        needs.add("reasoning")
    estimate = max(1, int(ask.prompt_tokens * chance.uniform(0.92, 1.08)))
    user = f"user-{int(habit.users * chance.random() ** 2):04d}" if habit.users else None
    return ChatRequest(
        dialect=habit.dialect,
        body={},
        models=(model,),
        stream=ask.is_stream,
        include_usage=ask.is_stream,
        max_output_tokens=ask.max_tokens,
        provider=ProviderPreferences(sort=habit.sort),
        needs=frozenset(needs),
        prompt_bytes=estimate * _BYTES_PER_TOKEN,
        image_count=1 if "vision" in needs else 0,
        prompt_tokens_estimate=estimate,
        user=user,
        session_id=f"{habit.project}-{user}-{at:%m%d%H}" if user and ask.is_stream else None,
        labels={"task": chance.choice(_TASKS)} if habit.environment == "prod" else {},
    )


def _told(last: AttemptRecord) -> tuple[int, str | None]:
    """The status and the kind of error that the caller was told."""
    if last.outcome is Outcome.SUCCESS:
        return 200, None
    if last.outcome is Outcome.CLIENT_CANCELLED:
        return _CLIENT_CLOSED, None
    if last.outcome is Outcome.RATE_LIMITED:
        return 429, "rate_limit_exceeded"
    if last.outcome is Outcome.CONTENT_FILTER:
        return 400, "content_filter"
    if last.outcome in _TIMEOUTS:
        return 504, "timeout"
    return 502, "upstream_error"
