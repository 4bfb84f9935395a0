"""Whole answers, and faults that hide behind a 200."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, Fault, FaultError, Quirks, Target
from gateway.providers.openai import OpenAIAdapter
from pricing.catalogue import Endpoint
from pricing.usage import Usage
from tests.properties import many

MakeTarget = Callable[..., Target]
ADAPTER = OpenAIAdapter()
JSON_HEADERS = {"content-type": "application/json"}
CHOICE: dict[str, Any] = {
    "index": 0,
    "message": {"role": "assistant", "content": "héllo", "refusal": None},
    "logprobs": None,
    "finish_reason": "stop",
}


def make_body(*choices: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"id": "c1", "model": "native-1-x", "choices": choices, **members}).encode()


def parse(body: bytes, target: Target, headers: dict[str, str] = JSON_HEADERS) -> Completion:
    return ADAPTER.parse_response(200, headers, body, target)


def fault(body: bytes, target: Target, headers: dict[str, str] = JSON_HEADERS) -> Fault:
    with pytest.raises(FaultError) as caught:
        parse(body, target, headers)
    return caught.value.fault


def test_an_ordinary_answer_passes_unchanged(target: Target) -> None:
    body = make_body(
        CHOICE,
        object="chat.completion",
        created=3,
        service_tier="default",
        system_fingerprint="fp",
        usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    )

    result = parse(body, target)

    assert result == Completion(
        choices=json.dumps([CHOICE]).encode(),
        extras={"service_tier": Raw(b'"default"'), "system_fingerprint": Raw(b'"fp"')},
        finish_reason="stop",
        native_finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=2, requests=1),
        service_tier="default",
        upstream_id="c1",
        upstream_model="native-1-x",
        text_bytes=6,
    )


def choice_of(result: Completion) -> dict[str, Any]:
    return json.loads(result.choices)[0]


@pytest.mark.parametrize(
    ("native", "canonical"), [("eos", "stop"), ("MAX_TOKENS", "length"), ("model_length", "length")]
)
def test_finish_reasons_are_translated(target: Target, native: str, canonical: str) -> None:
    result = parse(make_body({**CHOICE, "finish_reason": native}), target)

    assert (result.finish_reason, result.native_finish_reason) == (canonical, native)
    assert choice_of(result) == {
        **CHOICE,
        "finish_reason": canonical,
        "native_finish_reason": native,
    }


def test_a_missing_finish_reason_of_a_whole_answer_is_stop(target: Target) -> None:
    result = parse(make_body({**CHOICE, "finish_reason": None}), target)

    assert choice_of(result) == CHOICE


def test_stop_with_tool_calls_is_tool_calls(target: Target) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}

    result = parse(make_body({**CHOICE, "message": message}), target)

    choice = choice_of(result)
    assert result.finish_reason == "tool_calls"
    assert choice["finish_reason"] == "tool_calls"
    assert choice["native_finish_reason"] == "stop"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_reasoning_content_is_also_called_reasoning(target: Target) -> None:
    message = {"role": "assistant", "content": "4", "reasoning_content": "2+2"}

    result = parse(make_body({**CHOICE, "message": message}), target)

    assert choice_of(result)["message"] == {**message, "reasoning": "2+2"}
    assert result.text_bytes == 4


def test_a_reported_cost_is_read(make_target: MakeTarget) -> None:
    usage = {"prompt_tokens": 194, "completion_tokens": 2, "cost": 0.95}

    result = parse(make_body(CHOICE, usage=usage), make_target(usage_flavour="openrouter"))

    assert result.reported_cost_usd == Decimal("0.95")


def test_missing_usage_is_unknown_and_zero_usage_is_zero(target: Target) -> None:
    assert parse(make_body(CHOICE), target).usage is None
    assert parse(make_body(CHOICE, usage=None), target).usage is None
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert parse(make_body(CHOICE, usage=zero), target).usage == Usage(requests=1)


@pytest.mark.parametrize(
    ("body", "outcome", "status"),
    [
        pytest.param(b"", Outcome.BAD_RESPONSE, 200, id="empty"),
        pytest.param(b" \n", Outcome.BAD_RESPONSE, 200, id="blank"),
        pytest.param(b"<html>busy</html>", Outcome.BAD_RESPONSE, 200, id="html"),
        pytest.param(b'{"choices":[', Outcome.BAD_RESPONSE, 200, id="cut"),
        pytest.param(b'{"choices":"x"}', Outcome.BAD_RESPONSE, 200, id="choices-text"),
        pytest.param(b'{"choices":[]}', Outcome.BAD_RESPONSE, 200, id="no-choices"),
        pytest.param(b'{"choices":null}', Outcome.BAD_RESPONSE, 200, id="null-choices"),
        pytest.param(b"{}", Outcome.BAD_RESPONSE, 200, id="nothing"),
        pytest.param(b"[]", Outcome.BAD_RESPONSE, 200, id="list"),
        pytest.param(b'{"choices":[{"index":0}]}', Outcome.BAD_RESPONSE, 200, id="no-message"),
        pytest.param(b'{"choices":["\xff"]}', Outcome.BAD_RESPONSE, 200, id="utf8"),
        pytest.param(b'{"error":"boom"}', Outcome.SERVER_ERROR, 200, id="error-text"),
        pytest.param(
            b'{"error":{"code":429,"message":"slow"}}', Outcome.RATE_LIMITED, 429, id="error-429"
        ),
        pytest.param(
            b'{"error":{"message":"x","code":"context_length_exceeded"},"choices":[]}',
            Outcome.CONTEXT_LENGTH,
            200,
            id="error-word",
        ),
        pytest.param(
            b'[{"error":{"code":503,"message":"x"}}]', Outcome.OVERLOADED, 503, id="error-list"
        ),
        pytest.param(
            b'{"message":"The engine is overloaded"}', Outcome.OVERLOADED, 200, id="message-only"
        ),
        pytest.param(
            b'{"choices":[{"index":0,"error":{"code":502,"message":"x"},"message":{"content":""}}]}',
            Outcome.SERVER_ERROR,
            502,
            id="error-in-choice",
        ),
        pytest.param(
            b'{"choices":[{"index":0,"finish_reason":"error","message":{"content":""}}]}',
            Outcome.SERVER_ERROR,
            200,
            id="finished-with-error",
        ),
    ],
)
def test_what_is_not_an_answer_is_a_fault(
    target: Target, body: bytes, outcome: Outcome, status: int
) -> None:
    result = fault(body, target)

    assert (result.outcome, result.status_code) == (outcome, status)
    assert "acme" in result.message


def test_html_is_called_by_its_name(target: Target) -> None:
    result = fault(b"<!doctype html>", target, {"content-type": "text/html"})

    assert "HTML" in result.message


@pytest.mark.parametrize("error", [b"null", b"false", b'""', b"{}", b"[]"])
def test_an_empty_error_member_is_none(target: Target, error: bytes) -> None:
    body = b'{"error":%b,"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}' % error

    assert parse(body, target).finish_reason == "stop"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "choices",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "usage",
                    "index",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
@settings(max_examples=many(250))
def test_any_body_is_an_answer_or_a_fault(body: bytes) -> None:
    endpoint = Endpoint(id="a/b", provider="a", provider_model="b", model="a/b")
    target = Target(endpoint=endpoint, base_url="http://x", quirks=Quirks())

    try:
        result = parse(body, target)
    except FaultError as exc:
        assert exc.fault.message  # noqa: PT017
    else:
        assert result.finish_reason
