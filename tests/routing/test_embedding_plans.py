"""What embedding requests share with chat: who may serve, and what is told when nobody may."""

import pytest

from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError, NoEndpointError
from gateway.routing.embeddings import make_embedding_plan
from gateway.routing.explain import explain_embedding
from gateway.routing.explanation import Explanation
from gateway.routing.plan import PlanInputs
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import NO_RULES
from tests.routing.factories import (
    AT,
    ids,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_request,
    reasons,
)

OFF = make_endpoint("alpha", mode="embedding", disabled_from=AT)
ON = make_endpoint("beta", mode="embedding", price="2")


def test_what_the_operator_switched_off_serves_no_embeddings() -> None:
    plan = make_embedding_plan(make_request(), make_inputs(make_catalogue_of(OFF, ON)))

    assert ids(plan) == ["beta/large"]
    assert reasons(plan) == {"alpha/large": "disabled"}


def test_a_model_that_is_switched_off_everywhere_says_so() -> None:
    with pytest.raises(NoEndpointError, match="switched off by the operator"):
        make_embedding_plan(make_request(), make_inputs(make_catalogue_of(OFF)))


def explained(request: ChatRequest, inputs: PlanInputs) -> Explanation:
    ruled, inputs = govern(
        NO_RULES, request, inputs, headers={}, secret_salt=b"salt", api="embeddings"
    )
    return explain_embedding(ruled.request, inputs, ruled)


def test_a_plan_is_told_in_full() -> None:
    told = explained(make_request(), make_inputs(make_catalogue_of(OFF, ON)))

    assert [(one.place, one.endpoint, one.probability) for one in told.candidates] == [
        (1, "beta/large", 1.0)
    ]
    assert [(one.endpoint, one.reason) for one in told.exclusions] == [("alpha/large", "disabled")]
    assert told.refusal is None


def test_a_refusal_is_told_and_a_mistake_is_refused() -> None:
    told = explained(make_request(), make_inputs(make_catalogue_of(OFF)))

    assert told.candidates == ()
    assert told.refusal is not None
    assert "switched off by the operator" in told.refusal.message
    with pytest.raises(InvalidRequestError, match="not an embedding model"):
        explained(make_request(), make_inputs(make_catalogue_of(make_endpoint("alpha"))))
