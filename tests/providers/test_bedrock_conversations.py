"""Any conversation that a client may have becomes a request that Converse accepts."""

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.chat.request import ChatRequest
from pricing.endpoint import Endpoint
from tests.properties import many
from tests.providers.bedrock_judge import (
    ENDPOINTS,
    SONNET,
    ask,
    build,
    published_complaints,
)
from tests.providers.conversations import bodies, to_request

MOST_DOCUMENTS = 5
endpoints = st.sampled_from(ENDPOINTS)


def documents_in(body: dict[str, Any]) -> int:
    return sum(
        part.get("type") == "file"
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


@given(bodies(remote_images=False), endpoints)
@settings(max_examples=many(300), suppress_health_check=[HealthCheck.too_slow])
def test_any_conversation_is_accepted_by_the_strict_simulator(
    body: dict[str, Any], endpoint: Endpoint
) -> None:
    assume(documents_in(body) <= MOST_DOCUMENTS)
    request = to_request(body)

    _, sent = build(request, endpoint)

    answer = ask(sent, endpoint, stream=request.stream)
    assert answer.body


@given(bodies(remote_images=False), endpoints)
@settings(max_examples=many(100), suppress_health_check=[HealthCheck.too_slow])
def test_any_request_fits_the_published_model_of_the_service(
    body: dict[str, Any], endpoint: Endpoint
) -> None:
    _, sent = build(to_request(body), endpoint)

    assert published_complaints(sent, endpoint.provider_model) == ""


@given(bodies(remote_images=False))
@settings(max_examples=many(50), suppress_health_check=[HealthCheck.too_slow])
def test_the_same_request_is_built_the_same_way_twice(body: dict[str, Any]) -> None:
    request: ChatRequest = to_request(body)

    assert build(request, SONNET)[0].body == build(request, SONNET)[0].body


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.provider_model)
def test_a_plain_question_is_accepted_without_warnings(endpoint: Endpoint) -> None:
    request = to_request({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})

    sent, body = build(request, endpoint)

    assert sent.warnings == ()
    assert body == {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
