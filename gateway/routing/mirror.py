"""Where a mirrored request goes: an endpoint that the request itself might have been sent to.

What the key and the request rule out (providers, data policies, price caps) holds for the copy
too: a mirror shows a prompt to nobody whom the caller did not let see it.
"""

from collections.abc import Callable

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.errors import GatewayError
from gateway.routing.plan import Candidate, Plan, PlanInputs
from gateway.routing.rules.drawing import Mirror


def find_mirror(
    request: ChatRequest,
    inputs: PlanInputs,
    mirror: Mirror,
    make_plan: Callable[[ChatRequest, PlanInputs], Plan],
) -> Candidate | None:
    """The endpoint that the copy goes to; None when none may serve it."""
    endpoint = inputs.catalogue.endpoints_by_id.get(mirror.to)
    model = mirror.to if endpoint is None else endpoint.model
    # `a/b` is a model's name in rules, whatever the path makes of it.
    caller = msgspec.structs.replace(inputs.caller, slash_pins_provider=False)
    copy = msgspec.structs.replace(request, models=(model,))
    try:
        plan = make_plan(
            copy, msgspec.structs.replace(inputs, caller=caller, slash_pins_provider=False)
        )
    except GatewayError:
        return None
    fitting = (*plan.candidates, *plan.dropped)
    if endpoint is None:
        return fitting[0] if fitting else None
    return next((one for one in fitting if one.endpoint.id == mirror.to), None)
