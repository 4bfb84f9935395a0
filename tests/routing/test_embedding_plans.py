"""What embedding requests share with chat: who may serve, and what is told when nobody may."""

import pytest

from gateway.domain.errors import NoEndpointError
from gateway.routing.embeddings import make_embedding_plan
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
