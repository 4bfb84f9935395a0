"""Brings rules before a decision: what the plan is then made from."""

from collections.abc import Mapping

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.errors import PermissionDeniedError
from gateway.routing.implied import with_implied_wishes
from gateway.routing.plan import PlanInputs
from gateway.routing.rules.apply import Denial, Ruled, apply_rules
from gateway.routing.rules.naming import meanings, with_given_models
from gateway.routing.rules.rule_set import RuleSet


def govern(
    rule_set: RuleSet,
    request: ChatRequest,
    inputs: PlanInputs,
    *,
    headers: Mapping[str, str],
    secret_salt: bytes,
    api: str,
) -> tuple[Ruled, PlanInputs]:
    """What the rules make of a request, and the inputs under which it is then planned."""
    if rule_set.is_empty:
        request = with_implied_wishes(request, inputs)
        return Ruled(request=request, labels=inputs.caller.labels), inputs
    ruled = apply_rules(
        rule_set,
        request,
        inputs.caller,
        at=inputs.at,
        headers=headers,
        secret_salt=secret_salt,
        seed=inputs.seed,
        meaning_of=meanings(request, inputs),
        api=api,
    )
    inputs = msgspec.structs.replace(inputs, rule_version=ruled.version)
    if ruled.given_models:
        inputs = with_given_models(inputs, ruled.given_models)
    implied = with_implied_wishes(ruled.request, inputs)
    if implied is not ruled.request:
        ruled = msgspec.structs.replace(ruled, request=implied)
    return ruled, inputs


def refusal_of(denial: Denial) -> PermissionDeniedError:
    """What the caller of a request is told that a rule denies."""
    return PermissionDeniedError(denial.message, code="rule_denied", metadata={"rule": denial.rule})
