"""Records of requests that were decided by the real routing and answered with a given usage."""

from datetime import datetime, timedelta
from decimal import Decimal

from gateway.chat.request import ChatRequest
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.routing.engine import make_plan
from gateway.routing.plan import PlanInputs
from gateway.routing.record import compact, without_plan
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import NO_RULES, RuleSet
from pricing.cost import add_costs, compute_cost
from pricing.endpoint import Endpoint
from pricing.price import resolve
from pricing.usage import Usage
from tests.routing.rules.applying import SALT
from tests.storage.samples import make_attempt, make_record

ANSWER = Usage(input_tokens=1_000, output_tokens=500, requests=1)


def decided(
    request: ChatRequest,
    inputs: PlanInputs,
    *,
    rules: RuleSet = NO_RULES,
    usage: Usage | None = ANSWER,
    failures: int = 0,
    baseline_usd: str | None = None,
    version: str | None = None,
    salt: bytes = SALT,
) -> RequestRecord:
    """The record of a request.

    Args:
        request: as it came.
        inputs: under which it is decided.
        rules: in force.
        usage: of the answer, and of every attempt that failed before; None: nobody answered.
        failures: how many candidates fail first, after they did all the work.
        baseline_usd: as the operator's setting had it.
        version: what the record says of the rules; default: what they are.
        salt: of the installation.
    """
    ruled, governed = govern(rules, request, inputs, headers={}, secret_salt=salt, api="chat")
    known = {
        "received_at": inputs.at,
        "key_id": inputs.caller.key_id,
        "labels": dict(ruled.labels),
        "dialect": request.dialect.value,
        "stream": request.stream,
        "requested_model": request.models[0] if request.models else "",
        "user": request.user,
        "session_id": request.session_id,
        "tags": request.labels,
        "rule_version": version or ruled.version,
    }
    if ruled.denial is not None:
        return make_record(
            **known,
            status_code=403,
            outcome=Outcome.REFUSED,
            error_kind="rule_denied",
            plan=without_plan(request, inputs.seed) | ruled.compact(),
            cost_usd=Decimal(0),
        )
    plan = make_plan(ruled.request, governed)
    remembered = compact(plan, ruled.request, governed, request) | ruled.compact()
    answers = usage is not None
    tried = plan.candidates[: failures + 1]
    attempts = tuple(
        _attempt(
            number,
            candidate.endpoint,
            usage,
            at=inputs.at,
            outcome=Outcome.SUCCESS if answers and number == failures + 1 else Outcome.READ_ERROR,
        )
        for number, candidate in enumerate(tried, start=1)
    )
    used = attempts[-1] if answers else None
    return make_record(
        **known,
        attempts=attempts,
        status_code=200 if answers else 502,
        outcome=Outcome.SUCCESS if answers else Outcome.READ_ERROR,
        used_endpoint=used and used.endpoint,
        used_model=used and used.model,
        used_provider=used and used.provider,
        is_fallback=failures > 0,
        cost_usd=add_costs(attempt.cost for attempt in attempts).total_usd,
        baseline_cost_usd=None if baseline_usd is None else Decimal(baseline_usd),
        plan=remembered,
    )


def _attempt(
    number: int, endpoint: Endpoint, usage: Usage | None, *, at: datetime, outcome: Outcome
) -> AttemptRecord:
    spent = usage or Usage()
    price = resolve(endpoint, at=at, prompt_tokens=spent.prompt_tokens)
    return make_attempt(
        number=number,
        kind="primary" if number == 1 else "fallback",
        provider=endpoint.provider,
        model=endpoint.model,
        endpoint=endpoint.id,
        provider_model=endpoint.provider_model,
        started_at=at + timedelta(milliseconds=number),
        outcome=outcome,
        usage=usage,
        usage_source="reported" if usage is not None else None,
        cost=compute_cost(spent, price),
    )
