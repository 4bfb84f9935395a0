"""Names that an operator wrote mean what the same names mean in a request."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.chat.reasoning import Reasoning
from gateway.chat.request import ChatRequest
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import compile_rules
from tests.routing.factories import (
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_request,
)
from tests.routing.rules.applying import rule

THINKS = make_endpoint(capabilities={"reasoning": True, "web_search": True})
REPLACES = rule('replace_models = ["acme/large:thinking"]', 'models = ["acme/small"]')


def planned(request: ChatRequest, rules: str = "", **known: Any) -> ChatRequest:
    """The request as it is planned and sent."""
    small = make_endpoint("beta", "acme/small")
    ruled, _ = govern(
        compile_rules(rules, source="rules"),
        request,
        make_inputs(make_catalogue_of(THINKS, small), **known),
        headers={},
        secret_salt=b"salt",
        api="chat",
    )
    return ruled.request


def effort(request: ChatRequest) -> str | None:
    return request.reasoning.effort if request.reasoning is not None else None


def test_an_alias_that_ends_in_thinking_switches_reasoning_on() -> None:
    aliases = {"smart": "acme/large:thinking", "plain": "acme/large"}

    assert effort(planned(make_request("smart"), aliases=aliases)) == "medium"
    assert effort(planned(make_request("plain"), aliases=aliases)) is None


def test_a_default_model_that_ends_in_thinking_switches_reasoning_on() -> None:
    caller = make_caller(default_model="acme/large:thinking")
    unnamed = replace(make_request(), models=())

    assert effort(planned(unnamed, caller=caller)) == "medium"
    assert effort(planned(make_request("acme/small"), caller=caller)) is None


def test_a_rule_that_puts_a_thinking_model_in_switches_reasoning_on() -> None:
    assert effort(planned(make_request("acme/small"), REPLACES)) == "medium"


@pytest.mark.parametrize(
    "wish", [Reasoning(effort="none"), Reasoning(effort="low"), Reasoning(max_tokens=99)]
)
def test_what_the_request_says_of_reasoning_stands(wish: Reasoning) -> None:
    request = make_request("smart", reasoning=wish)

    assert planned(request, aliases={"smart": "acme/large:thinking"}).reasoning == wish


def test_an_alias_that_ends_in_online_wishes_for_a_search() -> None:
    request = planned(make_request("fresh"), aliases={"fresh": "acme/large:online"})

    assert request.web_search is not None
    assert "web_search" in request.needs


def test_a_request_that_means_nothing_more_stays_the_very_same_value() -> None:
    request = make_request("acme/large")

    assert planned(request, aliases={"smart": "acme/large:thinking"}) is request
