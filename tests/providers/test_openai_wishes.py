"""Reasoning, searches and choices among tools, in each endpoint's own words."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.providers.base import Target, UpstreamRequest
from gateway.providers.openai import OpenAIAdapter
from pricing.catalogue import Thinking

MakeTarget = Callable[..., Target]
SEARCHES = {"web_search": True}
PLACE = {"type": "approximate", "approximate": {"city": "Graz"}}


def wire(target: Target, **members: Any) -> UpstreamRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **members}
    request = decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENAI)
    return OpenAIAdapter().build_request(request, target, "")


def more(result: UpstreamRequest) -> dict[str, Any]:
    body = json.loads(result.body)
    return {name: value for name, value in body.items() if name not in {"model", "messages"}}


@pytest.mark.parametrize(
    ("form", "sent", "expected"),
    [
        ("options", {"web_search": True}, {"web_search_options": {}}),
        ("plugin", {"web_search": True}, {"plugins": [{"id": "web", "engine": "native"}]}),
        (
            "plugin",
            {"web_search_options": {"search_context_size": "low", "user_location": PLACE}},
            {
                "plugins": [{"id": "web", "engine": "native"}],
                "web_search_options": {"search_context_size": "low", "user_location": PLACE},
            },
        ),
        ("switch", {"web_search": True}, {"enable_search": True}),
        ("builtin", {"web_search": True}, {}),
    ],
)
def test_a_search_is_asked_for_in_the_words_of_the_service(
    make_target: MakeTarget, form: str, sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    result = wire(make_target(capabilities=SEARCHES, web_search_form=form), **sent)

    assert more(result) == expected
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("capabilities", "quirks"),
    [
        ({}, {}),
        ({"web_search": False}, {}),
        (SEARCHES, {"web_search_form": "none"}),
        (SEARCHES, {"web_search_model_mark": "search"}),
    ],
)
def test_no_search_is_asked_for_where_none_is_known_to_be(
    make_target: MakeTarget, capabilities: dict[str, bool], quirks: dict[str, Any]
) -> None:
    result = wire(make_target(capabilities=capabilities, **quirks), web_search=True)

    assert more(result) == {}
    assert result.warnings == (
        "no web search by acme/native-1, which is not known to have one here "
        "(asked for by `web_search`)",
    )


def test_a_limit_on_searches_is_warned_about(make_target: MakeTarget) -> None:
    result = wire(make_target(capabilities=SEARCHES), tools=[{"type": "web_search", "max_uses": 2}])

    assert "`max_uses`" in result.warnings[0]


def test_switching_reasoning_off_where_there_is_none_is_no_loss(make_target: MakeTarget) -> None:
    target = make_target(capabilities={"reasoning": False})

    for off in ({"reasoning_effort": "none"}, {"reasoning": {"enabled": False}}):
        result = wire(target, **off)
        assert more(result) == {}
        assert result.warnings == ()


def test_an_effort_alone_becomes_an_object_where_that_is_understood(
    make_target: MakeTarget,
) -> None:
    result = wire(make_target(accepts_reasoning_object=True), reasoning_effort="high")

    assert more(result) == {"reasoning": {"effort": "high"}}


def test_refused_efforts_are_not_sent(make_target: MakeTarget) -> None:
    target = make_target(refused_parameters=frozenset({"reasoning_effort"}))

    assert more(wire(target, reasoning={"effort": "high"})) == {}


def test_a_summary_that_cannot_be_had_is_warned_about(target: Target) -> None:
    result = wire(target, reasoning={"effort": "low", "summary": "auto"})

    assert more(result) == {"reasoning_effort": "low"}
    assert "`reasoning.summary`" in result.warnings[0]


def test_nulls_are_taken_out_everywhere_but_in_schemas(target: Target) -> None:
    schema = {"type": "object", "properties": {"x": {"default": None}}}
    function = {"name": "f", "description": None, "parameters": schema, "strict": None}
    form = {"name": "s", "description": None, "schema": schema, "strict": None}

    result = wire(
        target,
        tools=[{"type": "function", "function": function, "custom": None}],
        response_format={"type": "json_schema", "json_schema": form},
    )

    assert more(result) == {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    }


def test_tools_stay_when_the_allowed_ones_are_unknown(target: Target) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    allowed = {"mode": "auto", "tools": [{"type": "function", "name": "g"}]}

    result = wire(
        target,
        tools=tools,
        tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
    )

    assert more(result) == {"tools": tools, "tool_choice": "auto"}


def test_the_older_form_of_tools_asks_for_one_call_at_a_time(make_target: MakeTarget) -> None:
    functions = [{"name": "f"}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    knows_parallel = make_target(capabilities={"parallel_tool_calls": True})

    assert more(wire(knows_parallel, functions=functions)) == {
        "tools": tools,
        "parallel_tool_calls": False,
    }
    assert more(wire(make_target(), functions=functions)) == {"tools": tools}
    assert more(wire(knows_parallel, tools=tools)) == {"tools": tools}


def test_sessions_do_not_replace_a_cache_key(make_target: MakeTarget) -> None:
    target = make_target(takes_session_as_cache_key=True)

    assert more(wire(target, session_id="s", prompt_cache_key="k")) == {"prompt_cache_key": "k"}
    assert more(wire(target, session_id="s"))["prompt_cache_key"] != "s"


def test_service_tiers_are_those_of_the_service(make_target: MakeTarget) -> None:
    target = make_target(service_tiers=frozenset({"on_demand"}))

    assert more(wire(target, service_tier="on_demand")) == {"service_tier": "on_demand"}
    refused = wire(target, service_tier="priority")
    assert more(refused) == {}
    assert "`service_tier`" in refused.warnings[0]


@pytest.mark.parametrize(
    ("efforts", "asked", "taken"),
    [
        pytest.param(("low", "medium", "high"), "xhigh", "high", id="above"),
        pytest.param(("minimal", "low", "medium", "high"), "none", "minimal", id="cannot-be-off"),
        pytest.param(("medium", "high", "xhigh"), "low", "medium", id="below"),
        pytest.param(("none", "low", "high"), "medium", "low", id="lesser-of-two"),
        pytest.param(("low", "high"), "high", "high", id="known"),
        pytest.param((), "xhigh", "xhigh", id="unknown"),
    ],
)
def test_an_effort_that_the_model_does_not_know_becomes_the_nearest(
    make_target: MakeTarget, efforts: tuple[str, ...], asked: str, taken: str
) -> None:
    target = make_target()
    thinking = Thinking(style="effort", efforts=efforts)
    target = structs.replace(target, endpoint=structs.replace(target.endpoint, thinking=thinking))

    result = wire(target, reasoning_effort=asked)

    assert more(result) == {"reasoning_effort": taken}
    assert bool(result.warnings) is (asked != taken)


def test_the_effort_of_the_answer_is_left_out_with_a_warning(make_target: MakeTarget) -> None:
    result = wire(make_target(), effort="high")

    assert more(result) == {}
    assert result.warnings == ("`effort` is not supported by acme/native-1 and was left out",)
