"""The acceptance checklist drawn from the five published APIs, point by point, on every path.

| point | what holds |
| ---: | --- |
| 1 | one body, four paths, three ways to carry the key; a wrong key is a 401 everywhere |
| 2 | a missing member is a 422 with its place for FastAPI clients, a 400 for the others |
| 3 | wrapped unions and plain ones become the same request |
| 4 | `stop` as a text, a list, too long a list, and null |
| 5 | flat and nested preferences may agree, not differ; an unknown one is refused |
| 12 | contradictions about reasoning are refused; a budget and a cap are always a valid pair |
| 13 | the next endpoint answers before the first token, and nobody after it; `[DONE]` is last |
| 14 | `metadata.routing` has an entry for each attempt |
| 15 | usage says the same under every name, costs add up, unknown is null; caches, thoughts |
| 16 | a caller who hangs up leaves a record with an estimated usage |
| 18 | a refused credential of ours is a 502; no secret comes back |
| 20 | `X-No-Fallback: true` is `allow_fallbacks: false` |

`ELSEWHERE` names the tests that hold a point on a real socket, through real clients or in all its
variants. The remaining points belong to routing and to money, and stand in their rooms.
"""

import base64
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.api.paths import CHAT_PATHS, dialect_of
from gateway.chat.dialects import Dialect
from gateway.domain.keys import make_key
from gateway.domain.outcomes import Outcome
from gateway.simulator.server import Simulator
from tests.api.edge import Edge
from tests.chat.field_cases import CUSTOM_TOOL, HELLO, SCHEMA, TOOL
from tests.conformance.asgi import Answered, call
from tests.conformance.provider import Gateway
from tests.conformance.shapes import check_error
from tests.pipeline.conftest import dead_port, simulator
from tests.pipeline.rig import SECRET, DeadPort, Offer, asked, rig_on, text_of

__all__ = ["dead_port", "simulator"]

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
CARRIERS = ("bearer", "basic", "x-api-key")
WRONG_KEY = make_key(lambda count: b"w" * count).text
# Slowly enough that the error does not come in one packet with what precedes it.
FAILS_LATER = "error200@3,tokens_per_s=200"
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PATHS = pytest.mark.parametrize("path", CHAT_PATHS)

ELSEWHERE: dict[int, tuple[str, ...]] = {
    1: (
        "tests/api/test_dialects.py::test_the_same_body_is_answered_however_the_key_is_carried",
        "tests/api/test_dialects.py::test_two_different_keys_are_refused",
        "tests/clients/test_siblings.py::test_the_official_client_works_on_every_base",
    ),
    2: (
        "tests/api/test_dialects.py::test_missing_messages_are_named_in_the_shape_of_the_path",
        "tests/conformance/test_request_union.py::"
        "test_a_wrong_value_is_refused_by_name_in_the_shape_of_the_path",
    ),
    3: ("tests/chat/test_unwrap.py::test_wrapped_and_plain_unions_become_the_same_body",),
    4: ("tests/chat/test_fields.py::test_a_member_arrives_as_the_table_says",),
    5: (
        "tests/api/test_dialects.py::test_flat_and_nested_preferences_may_agree_and_not_contradict",
    ),
    12: (
        "tests/chat/test_reasoning.py::test_contradictions_are_refused",
        "tests/chat/test_reasoning.py::test_fields_make_one_wish",
        "tests/providers/test_anthropic_request.py::test_budget_and_cap_are_always_a_valid_pair",
        "tests/providers/test_gemini_request.py::test_how_much_to_think_follows_the_model",
        "tests/providers/test_openai_wishes.py::"
        "test_an_effort_that_the_model_does_not_know_becomes_the_nearest",
    ),
    13: (
        "tests/faults/test_fallback.py::test_a_whole_answer_comes_from_the_next_endpoint",
        "tests/faults/test_fallback.py::"
        "test_a_stream_comes_from_the_next_endpoint_before_its_first_token",
        "tests/faults/test_fallback.py::test_after_the_first_token_nobody_else_goes_on",
        "tests/clients/test_openai_python.py::"
        "test_an_answer_that_breaks_in_the_middle_raises_after_what_was_said",
        "tests/clients/test_node.py::test_raises_when_an_answer_breaks_in_the_middle",
    ),
    14: (
        "tests/pipeline/test_pipeline.py::test_after_a_fallback_tells_of_both_attempts",
        "tests/conformance/test_response_union.py::"
        "test_metadata_tells_who_was_asked_and_who_answered",
    ),
    15: (
        "tests/chat/test_usage_report.py::test_every_name_carries_the_same_numbers",
        "tests/chat/test_usage_report.py::test_the_parts_add_up_to_the_total",
        "tests/chat/test_usage_report.py::test_an_unknown_cost_is_null_and_never_zero",
        "tests/pricing/test_golden.py::"
        "test_a_golden_example_costs_exactly_what_was_worked_out_by_hand",
        "tests/providers/test_usage_by_api.py::test_usage_of_every_api_becomes_disjoint_meters",
        "tests/providers/test_gemini_usage.py::"
        "test_pitfall_14_thoughts_are_output_beside_the_candidates",
        "tests/providers/test_anthropic_answer.py::"
        "test_13_cache_tokens_stand_beside_the_input_and_hours_apart_from_minutes",
        "tests/providers/test_anthropic_gateway.py::test_golden_costs_reach_the_client",
    ),
    16: (
        "tests/api/test_served.py::test_in_mid_stream_closes_the_upstream_connection_at_once",
        "tests/api/test_served.py::test_before_the_answer_closes_the_upstream_connection_at_once",
        "tests/pipeline/test_pipeline.py::"
        "test_whose_caller_hangs_up_is_recorded_with_what_was_produced",
        "tests/faults/test_hang_up.py::test_the_upstream_connection_is_closed_within_100_ms",
    ),
    18: (),
    20: (),
}


def carried(how: str, key: str) -> dict[str, str]:
    match how:
        case "bearer":
            return {"authorization": f"Bearer {key}"}
        case "basic":
            return {"authorization": "Basic " + base64.b64encode(f"me:{key}".encode()).decode()}
        case _:
            return {"x-api-key": key}


def body_of(**members: Any) -> bytes:

    return json.dumps({"model": "acme/large", "messages": HELLO} | members).encode()


@asynccontextmanager
async def two_providers(simulated: Simulator, *offers: Offer) -> AsyncGenerator[Edge]:
    """Providers ``p1`` and ``p2`` behind a whole application."""
    async with rig_on(simulated, *offers) as rig:
        yield Edge(rig)


async def ask(
    edge: Edge, path: str, headers: dict[str, str] | None = None, **more: Any
) -> Answered:
    """A request that tries ``p1`` first."""
    preferences = {"order": ["p1", "p2"]} | more.pop("provider", {})
    return await call(
        edge.app,
        path,
        body_of(provider=preferences, **more),
        headers={"authorization": f"Bearer {edge.key}"} | (headers or {}),
    )


def metadata_of(answered: Answered, *, stream: bool) -> dict[str, Any]:
    return (answered.chunks()[-1] if stream else answered.json())["metadata"]


@PATHS
@pytest.mark.parametrize("how", CARRIERS)
async def test_point_1_one_body_on_every_path_with_every_carrier(
    gateway: Gateway, path: str, how: str
) -> None:
    body = body_of(model="acme/one")

    good = await call(gateway.edge.app, path, body, headers=carried(how, gateway.edge.key))
    bad = await call(gateway.edge.app, path, body, headers=carried(how, WRONG_KEY))

    assert good.status == 200
    assert bad.status == 401
    check_error(path, bad)
    assert "www-authenticate" in bad.headers
    assert len(gateway.asked) == 1


@PATHS
async def test_point_2_what_is_missing_is_named(gateway: Gateway, path: str) -> None:
    for body in ({"model": "acme/one"}, {"model": "acme/one", "messages": None}):
        answered = await gateway.post(path, body)

        assert "messages" in check_error(path, answered)
        if dialect_of(path) is Dialect.FASTAPI:
            assert answered.status == 422
            (fault,) = answered.json()["detail"]
            assert fault["loc"] == ["body", "messages"]
            assert (fault["type"], fault["input"]) == ("missing", None)
        else:
            assert answered.status == 400


@pytest.mark.parametrize(
    ("member", "value", "told"),
    [
        ("temperature", 3, {"input": 3, "ctx": {"expected": "a number from 0 to 2"}}),
        ("stream", "yes", {"input": "yes"}),
        ("service_tier", "x" * 65, {}),
        ("messages", [{"role": "user", "content": 12345}], {}),
        ("messages", "tell nobody", {}),
        ("user", 12345, {}),
        ("api_key", "sk-secret", {}),
    ],
)
async def test_point_2_a_fault_tells_the_value_but_no_prompt_and_no_secret(
    gateway: Gateway, member: str, value: object, told: dict[str, Any]
) -> None:
    body = {"model": "acme/one", "messages": HELLO, member: value}

    answered = await gateway.post("/api/v1/openai/chat/completions", body)

    (fault,) = answered.json()["detail"]
    assert fault.get("input") == told.get("input")
    assert ("input" in fault) is ("input" in told)
    assert told.get("ctx", fault.get("ctx")) == fault.get("ctx")
    for secret in (b"12345", b"tell nobody", b"sk-secret", b"xxxxx"):
        assert secret not in answered.body


WRAPPED: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("stop", {"stop": {"OfString": "x"}}, {"stop": "x"}),
    ("stops", {"stop": {"OfStringArray": ["x", "y"]}}, {"stop": ["x", "y"]}),
    (
        "content",
        {"messages": [{"role": "user", "content": {"OfString": "hi"}}]},
        {"messages": [{"role": "user", "content": "hi"}]},
    ),
    (
        "parts",
        {
            "messages": [
                {
                    "role": "user",
                    "content": {"OfArrayOfContentParts": [{"type": "text", "text": "hi"}]},
                }
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    ),
    (
        "json_object",
        {"response_format": {"OfJSONObject": {"type": "json_object"}, "OfText": None}},
        {"response_format": {"type": "json_object"}},
    ),
    (
        "json_schema",
        {"response_format": {"OfJSONSchema": {"type": "json_schema", "json_schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    ),
    (
        "tools",
        {"tools": [{"OfFunction": TOOL}], "tool_choice": {"OfAuto": "required"}},
        {"tools": [TOOL], "tool_choice": "required"},
    ),
    ("custom tools", {"tools": [{"OfCustom": CUSTOM_TOOL}]}, {"tools": [CUSTOM_TOOL]}),
    (
        "named tool",
        {"tools": [TOOL], "tool_choice": {"OfFunctionToolChoice": TOOL}},
        {"tools": [TOOL], "tool_choice": TOOL},
    ),
    (
        "prediction",
        {"prediction": {"type": "content", "content": {"OfString": "as before"}}},
        {"prediction": {"type": "content", "content": "as before"}},
    ),
)


@PATHS
@pytest.mark.parametrize(("wrapped", "plain"), [pytest.param(w, p, id=i) for i, w, p in WRAPPED])
async def test_point_3_wrapped_unions_become_the_same_request(
    gateway: Gateway, path: str, wrapped: dict[str, Any], plain: dict[str, Any]
) -> None:
    for members in (wrapped, plain):
        answered = await gateway.post(path, {"model": "acme/one", "messages": HELLO} | members)
        assert answered.status == 200, answered.body

    first, second = gateway.asked
    assert first == second


@PATHS
@pytest.mark.parametrize(
    ("stop", "status", "arrives"),
    [("x", 200, "x"), (["x"], 200, ["x"]), (None, 200, None), (list("abcde"), 400, None)],
)
async def test_point_4_stop(
    gateway: Gateway, path: str, stop: object, status: int, arrives: object
) -> None:
    answered = await gateway.post(path, {"model": "acme/one", "messages": HELLO, "stop": stop})

    if status == 200:
        assert answered.status == 200
        assert gateway.asked[0].get("stop") == arrives
    else:
        assert answered.status == (422 if dialect_of(path) is Dialect.FASTAPI else 400)
        assert "`stop`" in check_error(path, answered)
        assert gateway.asked == []


@PATHS
async def test_point_5_flat_and_nested_preferences(gateway: Gateway, path: str) -> None:
    nested: dict[str, Any] = {"only": ["acme"], "max_price": {"prompt": "0.5"}}
    equal = {"provider_only": ["acme"], "provider_max_prompt_price": 0.5, "provider": nested}
    different = {"provider_only": ["other"], "provider": nested}
    unknown: dict[str, Any] = {"provider": {"max_price": {"promt": 1}}}

    answers = [
        await gateway.post(path, {"model": "acme/one", "messages": HELLO} | members)
        for members in (equal, different, unknown)
    ]

    assert answers[0].status == 200
    said = check_error(path, answers[1])
    assert "provider_only" in said
    assert "provider.only" in said
    assert "promt" in check_error(path, answers[2])
    assert len(gateway.asked) == 1


@PATHS
@STREAMS
async def test_point_13_the_next_endpoint_answers_before_the_first_token(
    simulator: Simulator, path: str, stream: bool
) -> None:
    async with two_providers(simulator, Offer(do="reset_mid@0"), Offer(do="text=here")) as edge:
        answered = await ask(edge, path, stream=stream)

    assert answered.status == 200
    if stream:
        assert text_of(answered.chunks()) == "here"
    else:
        assert answered.json()["choices"][0]["message"]["content"] == "here"
    assert metadata_of(answered, stream=stream)["used_provider"] == "p2"


@PATHS
async def test_point_13_after_the_first_token_the_stream_ends_with_an_error(
    simulator: Simulator, path: str
) -> None:
    async with two_providers(simulator, Offer(do=FAILS_LATER), Offer(do="text=here")) as edge:
        answered = await ask(edge, path, stream=True)

    assert answered.status == 200
    *said, broken = answered.chunks()
    assert text_of(said)
    assert "here" not in text_of(said)
    assert broken["object"] == "chat.completion.chunk"
    assert {"message", "type", "code"} <= set(broken["error"])
    assert broken["choices"][0]["finish_reason"] == "error"
    assert len(asked(simulator)) == 1


@PATHS
@STREAMS
async def test_point_14_routing_has_an_entry_for_each_attempt(
    simulator: Simulator, dead_port: DeadPort, path: str, stream: bool
) -> None:
    offers = (Offer(base_url=dead_port.url), Offer())
    async with two_providers(simulator, *offers) as edge:
        answered = await ask(edge, path, stream=stream)

    metadata = metadata_of(answered, stream=stream)
    gone, good = metadata["routing"]
    assert (gone["provider"], gone["status_code"], gone["succeeded"]) == ("p1", 0, False)
    assert gone["error_type"] != "none"
    assert (good["provider"], good["status_code"], good["succeeded"]) == ("p2", 200, True)
    assert good["error_type"] == "none"
    assert metadata["requested_model"] == "acme/large"
    assert (metadata["used_model"], metadata["used_provider"]) == ("acme/large", "p2")
    assert metadata["underlying_used_model"] == "large"
    assert metadata["attempts"] == 2


@PATHS
@STREAMS
async def test_point_18_a_refused_credential_of_ours_is_not_the_callers(
    simulator: Simulator, path: str, stream: bool
) -> None:
    async with two_providers(simulator, Offer(do="401"), Offer(do="403")) as edge:
        answered = await ask(edge, path, stream=stream)
        record = edge.rig.ledger.only

    assert answered.status == 502
    assert "www-authenticate" not in answered.headers
    assert [entry.status for entry in asked(simulator)] == [401, 403]
    assert SECRET not in answered.body.decode()
    # The provider shows the beginning and the end of a key that it refuses.
    assert SECRET[:8] not in answered.body.decode()
    assert record.attempts[0].outcome is Outcome.AUTH_FAILED


@PATHS
@STREAMS
async def test_point_18_another_provider_takes_over_from_a_refused_credential(
    simulator: Simulator, path: str, stream: bool
) -> None:
    async with two_providers(simulator, Offer(do="401"), Offer()) as edge:
        answered = await ask(edge, path, stream=stream)

    assert answered.status == 200
    assert metadata_of(answered, stream=stream)["used_provider"] == "p2"


@PATHS
async def test_point_18_an_echo_shows_what_was_sent_without_secrets(
    simulator: Simulator, path: str
) -> None:
    async with two_providers(simulator, Offer(), Offer()) as edge:
        answered = await ask(
            edge,
            path,
            stream=True,
            debug={"echo_upstream_body": True},
            safety_identifier=SECRET,
            user=f"Bearer {SECRET}",
        )

    assert answered.status == 200
    assert b"echo_upstream_body" in answered.body
    assert SECRET not in answered.body.decode()


@PATHS
@STREAMS
async def test_point_20_the_header_and_the_preference_mean_the_same(
    simulator: Simulator, path: str, stream: bool
) -> None:
    offers = (Offer(do="500"), Offer())
    first: dict[str, Any] = {"order": ["p1"]}
    answers: list[Answered] = []
    for headers, preference in (
        ({"x-no-fallback": "true"}, {}),
        ({}, {"allow_fallbacks": False}),
        ({}, {}),
    ):
        async with two_providers(simulator, *offers) as edge:
            preferences = first | preference
            answers.append(await ask(edge, path, headers, provider=preferences, stream=stream))

    assert [answered.status for answered in answers] == [502, 502, 200]


def test_the_tests_that_stand_elsewhere_exist() -> None:
    for point, names in ELSEWHERE.items():
        for name in names:
            file, _, function = name.partition("::")
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"def {function}\(", text), (point, name)


def test_every_point_has_a_test() -> None:
    here = Path(__file__).read_text(encoding="utf-8")

    for point, names in ELSEWHERE.items():
        assert names or f"def test_point_{point}_" in here
        assert f"\n| {point} |" in (__doc__ or "")
