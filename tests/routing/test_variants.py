"""What the ends of models' names change: ``:thinking``, ``:extended`` and ``:exacto``."""

import json
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.reasoning import Reasoning
from gateway.chat.request import ChatRequest
from gateway.routing.engine import make_plan
from gateway.routing.plan import Plan
from tests.routing.factories import (
    ids,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_request,
    reasons,
)

BOTH = {"tools": True, "structured_outputs": True}
CATALOGUE = make_catalogue_of(
    make_endpoint("a", price="1", context_tokens=8_000, capabilities={"reasoning": False}),
    make_endpoint("b", price="2", context_tokens=200_000, capabilities={"tools": True}),
    make_endpoint("c", price="3", context_tokens=200_000, capabilities=BOTH | {"reasoning": True}),
    make_endpoint("d", price="4", capabilities=BOTH),
    make_endpoint("e", price="0.1", context_tokens=900_000, mode="embedding"),
)


def plan_of(name: str, seed: int = 1, **wishes: Any) -> Plan:
    return make_plan(make_request(name, **wishes), make_inputs(CATALOGUE, seed=seed))


def test_thinking_serves_where_reasoning_is_known() -> None:
    plan = plan_of("acme/large:thinking")

    assert ids(plan) == ["c/large"]
    assert reasons(plan) == {
        "a/large": "capability",
        "b/large": "capability",
        "d/large": "capability",
        "e/large": "mode",
    }


def test_extended_tries_the_longest_windows_first() -> None:
    for seed in range(10):
        plan = plan_of("acme/large:extended", seed=seed)

        assert set(ids(plan)[:2]) == {"b/large", "c/large"}
        assert set(ids(plan)[2:]) == {"a/large", "d/large"}
    assert ids(plan_of("acme/large:extended", sort="price"))[:2] == ["b/large", "c/large"]


def test_exacto_tries_those_known_to_serve_tools_and_schemas_first() -> None:
    for seed in range(10):
        assert set(ids(plan_of("acme/large:exacto", seed=seed))[:2]) == {"c/large", "d/large"}


@pytest.mark.parametrize(
    ("model", "sent", "effort"),
    [
        pytest.param("acme/large:thinking", {}, "medium", id="on"),
        pytest.param("acme/large:thinking", {"reasoning_effort": "low"}, "low", id="own-effort"),
        pytest.param(
            "acme/large:thinking", {"reasoning": {"enabled": False}}, "none", id="own-refusal"
        ),
        pytest.param(
            "acme/large:thinking", {"reasoning": {"exclude": True}}, "medium", id="own-silence"
        ),
        pytest.param("acme/large", {}, None, id="plain"),
    ],
)
def test_thinking_switches_reasoning_on_unless_the_request_says_otherwise(
    model: str, sent: dict[str, Any], effort: str | None
) -> None:
    request = read(model=model, **sent)

    assert (request.reasoning or Reasoning()).effort == effort


def read(**members: Any) -> ChatRequest:
    body = {"messages": [{"role": "user", "content": "x"}], **members}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENROUTER)
