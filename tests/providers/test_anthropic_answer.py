"""Answers and errors of Anthropic, as our clients get them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, FaultError
from gateway.providers.translation.structure import ANSWER_TOOL
from pricing.cost import compute_cost
from pricing.price import resolve
from pricing.usage import Usage
from tests.providers.claude import ADAPTER, CATALOGUE, ask, build, judge, target_of

GOLDEN: list[dict[str, Any]] = [
    {
        "id": "08-anthropic-cache-5m-1h",
        "model": "claude-sonnet-4-5",
        "usage": {
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 148,
                "ephemeral_1h_input_tokens": 100,
            },
            "output_tokens": 503,
        },
        "usd": "0.015384",
    },
    {
        "id": "09-anthropic-tier-over",
        "model": "claude-haiku-5-5",
        "usage": {
            "input_tokens": 20001,
            "cache_read_input_tokens": 80000,
            "cache_creation_input_tokens": 0,
            "output_tokens": 500,
        },
        "usd": "0.0152505",
    },
    {
        "id": "10-anthropic-tier-at",
        "model": "claude-haiku-5-5",
        "usage": {
            "input_tokens": 20000,
            "cache_read_input_tokens": 80000,
            "cache_creation_input_tokens": 0,
            "output_tokens": 500,
        },
        "usd": "0.00305",
    },
    {
        "id": "12-anthropic-batch-websearch",
        "model": "claude-sonnet-4-6",
        "usage": {
            "input_tokens": 6039,
            "output_tokens": 931,
            "server_tool_use": {"web_search_requests": 1},
            "service_tier": "batch",
        },
        "usd": "0.026041",
    },
]
"""Raw usage objects of the worked examples in tests/pricing/data/golden_costs.json."""


def message(*content: dict[str, Any], **members: Any) -> bytes:
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": list(content),
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }
        | members
    ).encode()


def parse(body: bytes, model: str = "claude-sonnet-4-5") -> Completion:
    return ADAPTER.parse_response(200, {}, body, target_of(model))


def choice_of(completion: Completion) -> dict[str, Any]:
    (choice,) = json.loads(completion.choices)
    return choice


TEXT = {"type": "text", "text": "Hello"}


def test_texts_are_joined_and_thinking_shows_with_its_signature() -> None:
    completion = parse(
        message(
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "b3BhcXVl"},
            TEXT,
            {"type": "text", "text": " there"},
        )
    )

    assert choice_of(completion) == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": "Hello there",
            "reasoning": "Hm.",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Hm.",
                    "signature": "c2ln",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                },
                {
                    "type": "reasoning.encrypted",
                    "data": "b3BhcXVl",
                    "format": "anthropic-claude-v1",
                    "index": 1,
                },
            ],
        },
        "finish_reason": "stop",
        "native_finish_reason": "end_turn",
    }
    assert completion.upstream_id == "msg_1"
    assert completion.text_bytes == 14


def test_calls_have_their_arguments_as_text_and_no_content() -> None:
    completion = parse(
        message(
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            stop_reason="tool_use",
        )
    )

    said = choice_of(completion)["message"]
    assert said["content"] is None
    assert [call["function"] for call in said["tool_calls"]] == [
        {"name": "f", "arguments": '{"a": 1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert completion.finish_reason == "tool_calls"


def test_a_forced_answer_is_the_content_and_a_stop() -> None:
    completion = parse(
        message(
            {"type": "tool_use", "id": "t1", "name": ANSWER_TOOL, "input": {"city": "Oslo"}},
            stop_reason="tool_use",
        )
    )

    assert json.loads(choice_of(completion)["message"]["content"]) == {"city": "Oslo"}
    assert completion.finish_reason == "stop"


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons_in_our_words(native: str, reason: str) -> None:
    completion = parse(message(TEXT, stop_reason=native))

    assert completion.finish_reason == reason
    assert completion.native_finish_reason == native


def test_citations_become_annotations_of_the_text_they_stand_in() -> None:
    source = {
        "type": "web_search_result_location",
        "url": "https://example.com",
        "title": "Example",
        "cited_text": "So it is.",
    }
    completion = parse(
        message(
            TEXT,
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": " world", "citations": [source]},
        )
    )

    assert choice_of(completion)["message"]["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {
                "url": "https://example.com",
                "title": "Example",
                "start_index": 5,
                "end_index": 11,
                "content": "So it is.",
            },
        }
    ]


@pytest.mark.parametrize("example", GOLDEN, ids=lambda example: example["id"])
def test_golden_costs_hold_from_the_raw_body_on(example: dict[str, Any]) -> None:
    completion = parse(message(TEXT, usage=example["usage"]), example["model"])

    assert completion.usage is not None
    assert completion.is_usage_doubtful is False
    price = resolve(
        CATALOGUE.endpoints_by_id[f"anthropic/{example['model']}"],
        at=datetime(2026, 11, 17, 12, tzinfo=UTC),
        prompt_tokens=completion.usage.prompt_tokens,
        service_tier=completion.service_tier,
    )
    assert compute_cost(completion.usage, price).total_usd == Decimal(example["usd"])


class TestPitfalls:
    """Rows of the list of known pitfalls, by their numbers."""

    def test_5_an_error_inside_a_200_is_a_fault(self) -> None:
        body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'

        with pytest.raises(FaultError) as caught:
            parse(body)

        assert caught.value.fault.outcome is Outcome.OVERLOADED

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id":"x"}', b'{"content":null}'])
    def test_5_what_is_no_answer_is_a_fault(self, body: bytes) -> None:
        with pytest.raises(FaultError) as caught:
            parse(body)

        assert caught.value.fault.outcome is Outcome.BAD_RESPONSE

    def test_13_cache_tokens_stand_beside_the_input_and_hours_apart_from_minutes(self) -> None:
        usage = parse(message(TEXT, usage=GOLDEN[0]["usage"])).usage

        assert usage is not None
        assert usage == Usage(
            input_tokens=2048,
            cache_read_tokens=1800,
            cache_write_tokens=148,
            cache_write_1h_tokens=100,
            output_tokens=503,
            requests=1,
        )
        assert usage.prompt_tokens == 4096

    def test_13_writes_are_summed_where_only_their_parts_are_told(self) -> None:
        usage = {
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_creation_input_tokens": None,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        }

        counted = parse(message(TEXT, usage=usage)).usage

        assert counted is not None
        assert (counted.cache_write_tokens, counted.cache_write_1h_tokens) == (3, 4)

    def test_16_a_reported_zero_stays_zero(self) -> None:
        completion = parse(message(TEXT, usage={"input_tokens": 0, "output_tokens": 0}))

        assert completion.usage == Usage(requests=1)

    def test_16_missing_usage_is_unknown(self) -> None:
        assert parse(message(TEXT, usage=None)).usage is None


def test_thinking_is_told_apart_from_the_rest_of_the_output() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 10,
        "output_tokens_details": {"thinking_tokens": 7},
    }

    counted = parse(message(TEXT, usage=usage)).usage

    assert counted is not None
    assert (counted.output_tokens, counted.reasoning_tokens) == (3, 7)


@pytest.mark.parametrize(
    ("status", "kind", "text", "outcome"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", Outcome.INVALID_REQUEST),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            Outcome.CONTEXT_LENGTH,
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            Outcome.CONTEXT_LENGTH,
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            Outcome.QUOTA_EXHAUSTED,
        ),
        (401, "authentication_error", "invalid x-api-key", Outcome.AUTH_FAILED),
        (402, "billing_error", "There is an issue", Outcome.QUOTA_EXHAUSTED),
        (403, "permission_error", "No permission", Outcome.AUTH_FAILED),
        (404, "not_found_error", "model: claude-none", Outcome.NOT_FOUND),
        (413, "request_too_large", "Request exceeds the maximum size", Outcome.TOO_LARGE),
        (429, "rate_limit_error", "exceed your organization's rate limit", Outcome.RATE_LIMITED),
        (500, "api_error", "Internal server error", Outcome.SERVER_ERROR),
        (504, "timeout_error", "Request timed out", Outcome.SERVER_ERROR),
        (529, "overloaded_error", "Overloaded", Outcome.OVERLOADED),
    ],
)
def test_errors_have_their_classes(status: int, kind: str, text: str, outcome: Outcome) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": text}}).encode()

    fault = ADAPTER.parse_error(status, {"request-id": "req_1"}, body, target_of())

    assert fault.outcome is outcome
    assert fault.code == kind
    assert fault.upstream_id == "req_1"


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({"retry-after": "7"}, 7000.0),
        (
            {
                "date": "Thu, 15 Jan 2026 12:00:00 GMT",
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-01-15T12:00:09Z",
                "anthropic-ratelimit-requests-remaining": "3",
                "anthropic-ratelimit-requests-reset": "2026-01-15T12:30:00Z",
            },
            9000.0,
        ),
        ({"anthropic-ratelimit-tokens-remaining": "0"}, None),
    ],
)
def test_a_limit_says_when_to_come_back(headers: dict[str, str], wait_ms: float | None) -> None:
    fault = ADAPTER.parse_error(429, headers, b"{}", target_of())

    assert fault.retry_after_ms == wait_ms


def test_what_the_simulator_says_is_what_clients_read() -> None:
    answer = judge(build(ask(reasoning_effort="low")))

    completion = parse(answer.body)

    assert choice_of(completion)["message"]["content"] == answer.text
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == answer.bill.prompt_tokens
    assert completion.usage.reasoning_tokens == answer.bill.reasoning_tokens
