"""What logged requests would have cost at the baselines that no record was written with."""

import functools
from collections.abc import Awaitable, Callable
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from gateway.ledger.replaying import Ask
from gateway.routing.logged import LoggedRequest, NotReplayed
from gateway.routing.replaying import Installation, ReplayableRules, recall
from gateway.routing.replaying_history import NoneBefore, RuleHistory
from gateway.routing.replaying_report import cost_of_answer_usd
from gateway.routing.rules.problems import RulesError
from gateway.routing.rules.rule_set import NO_RULES, compile_rules
from gateway.routing.stored_plan import read_plan
from gateway.storage.replay_rows import read_activations
from gateway.storage.rule_sets import EMPTY_VERSION, read_rule_set
from pricing.catalogue import Catalogue
from pricing.endpoint import Endpoint
from pricing.savings import DEAREST, PREVIOUS_RULES, cost_at_usd, find_endpoint, is_comparable

_RULES_REMEMBERED = 16


class Uncovered(StrEnum):
    """Why the baseline of a request is not known."""

    NOT_ANSWERED = "not_answered"
    """There is no usage to compare."""
    OWN_PROVIDERS = "own_providers"
    """Its caller paid its providers."""
    UNPRICED = "unpriced"
    """What it did cost is not known."""
    NO_PRICE = "no_price"
    """The baseline has no price for it, or is of another kind than what answered."""
    UNREADABLE = "unreadable"
    """The stored plan is of a form that this version does not know."""
    REFUSED_BEFORE = "refused_before"
    """The rules before would have refused it."""
    RULES_BROKEN = "rules_broken"
    """The rules before cannot be read by this version."""


Reason: TypeAlias = Uncovered | NotReplayed | NoneBefore
BaselineOf = Callable[[LoggedRequest], Awaitable[Decimal | Reason]]
"""What an answered request would have cost at the baseline."""


async def baseline_named(ask: Ask, here: Installation, name: str) -> BaselineOf:
    """``dearest``, ``previous-rules`` or an endpoint.

    Raises:
        LookupError: it names no endpoint; the message ends with the nearest.
    """
    if name == PREVIOUS_RULES:
        return await under_previous_rules(ask, here)
    if name == DEAREST:
        return at_the_dearest(here.catalogue)
    return at_endpoint(find_endpoint(name, here.catalogue), here.catalogue)


def at_endpoint(endpoint: Endpoint, catalogue: Catalogue) -> BaselineOf:
    """The list price of one endpoint, as the operator believes it now for then."""
    endpoint = catalogue.endpoints_by_id.get(endpoint.id, endpoint)

    async def baseline_of(logged: LoggedRequest) -> Decimal | Reason:
        return _listed(endpoint, logged, catalogue)

    return baseline_of


def at_the_dearest(catalogue: Catalogue) -> BaselineOf:
    """The dearest of the endpoints that might have answered."""

    async def baseline_of(logged: LoggedRequest) -> Decimal | Reason:
        answer, plan = logged.answer, read_plan(logged.plan)
        if plan is None or answer is None:
            return Uncovered.UNREADABLE
        endpoint = catalogue.endpoints_by_id.get(plan.dearest or answer.endpoint)
        return Uncovered.NO_PRICE if endpoint is None else _listed(endpoint, logged, catalogue)

    return baseline_of


async def under_previous_rules(ask: Ask, here: Installation) -> BaselineOf:
    """Whoever would have served under the version of rules before the one in force."""
    activations = await ask(read_activations)
    history = RuleHistory(activations, empty_version=EMPTY_VERSION)
    known: dict[int | None, ReplayableRules | None] = {None: ReplayableRules(NO_RULES)}

    async def rules_of(number: int | None) -> ReplayableRules | None:
        if number is not None and number not in known:
            if len(known) > _RULES_REMEMBERED:
                known.pop(next(one for one in known if one is not None))
            stored = await ask(functools.partial(read_rule_set, number=number))
            known[number] = None
            if stored is not None:
                try:
                    compiled = compile_rules(stored.source, source=f"rule set {number}")
                except RulesError:
                    return None
                known[number] = ReplayableRules(compiled)
        return known[number]

    async def baseline_of(logged: LoggedRequest) -> Decimal | Reason:
        number = history.before(logged.rule_version, logged.received_at)
        if isinstance(number, NoneBefore):
            return number
        rules = await rules_of(number)
        if rules is None:
            return Uncovered.RULES_BROKEN
        situation = recall(logged, here)
        if isinstance(situation, NotReplayed):
            return situation
        decision = rules.decide(situation, here.salt)
        if isinstance(decision, NotReplayed):
            return decision
        if decision.endpoint is None or logged.answer is None:
            return Uncovered.REFUSED_BEFORE
        found = cost_of_answer_usd(decision.endpoint, logged.answer, here.catalogue)
        return Uncovered.NO_PRICE if found is None else found

    return baseline_of


def _listed(endpoint: Endpoint, logged: LoggedRequest, catalogue: Catalogue) -> Decimal | Reason:
    answer = logged.answer
    if answer is None or answer.usage is None:
        return Uncovered.NOT_ANSWERED
    served = catalogue.endpoints_by_id.get(answer.endpoint)
    if served is not None and not is_comparable(endpoint, served):
        return Uncovered.NO_PRICE
    found = cost_at_usd(endpoint, usage=answer.usage, at=answer.started_at)
    return Uncovered.NO_PRICE if found is None else found
