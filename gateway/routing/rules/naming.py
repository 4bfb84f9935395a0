"""What the models of a request are called in the catalogue, for rules that ask."""

from collections.abc import Callable

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.errors import GatewayError
from gateway.routing.names import resolve_names
from gateway.routing.plan import PlanInputs
from gateway.routing.rules.apply import Meaning


def meanings(request: ChatRequest, inputs: PlanInputs) -> Callable[[str], Meaning]:
    """How routing will read a name of this request.

    A name that routing will refuse means itself: it is refused when the plan is made.
    """

    def meaning_of(name: str) -> Meaning:
        try:
            target = resolve_names(msgspec.structs.replace(request, models=(name,)), inputs)[0]
        except GatewayError:
            return Meaning(model=name)
        return Meaning(model=target.model, provider=target.provider)

    return meaning_of


def with_given_models(inputs: PlanInputs, given: frozenset[str]) -> PlanInputs:
    """Inputs under which the names that rules put in are names of models, and never pin."""
    # `a/b:floor` is looked up without its end. What is no model's full name cannot pin either.
    names = {name.rpartition(":")[0] or name for name in given} | given
    models = {name for name in names if inputs.catalogue.endpoints_of(name)}
    if not models:
        return inputs
    return msgspec.structs.replace(inputs, configured_models=inputs.configured_models | models)
