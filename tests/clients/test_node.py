"""Clients written in JavaScript work unchanged: `openai`, and Vercel's `ai` with two providers."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.clients.conftest import Site
from tests.clients.node_run import Told, run_script, why_not

_REASON = why_not()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a script's scenarios gave, and how often each model was asked of the provider."""

    told: Told
    attempts: Callable[[str], int]


def run(script: str, site: Site) -> Run:
    before = len(site.simulator.ledger)
    told = run_script(script, site)
    asked = [entry.model or "" for entry in list(site.simulator.ledger)[before:]]
    return Run(
        told=told, attempts=lambda model: sum(one.partition("!")[0] == model for one in asked)
    )


@pytest.fixture(scope="module")
def official(site: Site) -> Run:
    return run("openai.mjs", site)


@pytest.fixture(scope="module")
def compatible(site: Site) -> Run:
    return run("ai_compatible.mjs", site)


@pytest.fixture(scope="module")
def openrouter(site: Site) -> Run:
    return run("openrouter.mjs", site)


def cost_of(prompt_tokens: int, completion_tokens: int) -> Decimal:
    """At 1 USD a million tokens in and 2 USD a million tokens out."""
    return (Decimal(prompt_tokens) + Decimal(completion_tokens) * 2) / 1_000_000


def exact(number: float) -> Decimal:
    """A JSON number of JavaScript, which writes the shortest digits that name it."""
    return Decimal(repr(number))


def is_place(value: Any) -> bool:
    return set(value) == {"place", "metres"} and isinstance(value["metres"], int)


class TestTheOfficialClient:
    def test_gets_a_whole_answer_with_usage_cost_and_metadata(self, official: Run) -> None:
        told = official.told["chat"]
        answer = told["answer"]

        assert answer["id"].startswith("gen-")
        assert answer["choices"][0]["message"]["content"]
        usage = answer["usage"]
        expected = cost_of(usage["prompt_tokens"], usage["completion_tokens"])
        assert exact(usage["cost_usd_total"]) == exact(usage["cost"]) == expected
        assert answer["metadata"]["used_provider"] == "alpha"
        assert told["headers"]["x-generation-id"] == answer["id"]
        assert told["request_id"] == told["headers"]["x-request-id"]

    def test_gets_the_same_text_in_a_stream_that_ends_with_the_cost(self, official: Run) -> None:
        whole = official.told["chat"]["answer"]
        plain, asked = official.told["stream"], official.told["stream_with_usage"]

        for told in (plain, asked):
            assert told["text"] == whole["choices"][0]["message"]["content"]
            assert told["count"] > 5
            assert told["last"]["usage"]["cost"] == whole["usage"]["cost"]
            assert told["last"]["metadata"]["used_provider"] == "alpha"
        assert plain["last"]["choices"][0]["finish_reason"] == "stop"
        assert asked["last"]["choices"] == []

    def test_calls_tools_and_hands_back_their_results(self, official: Run) -> None:
        told, streamed = official.told["tools"], official.told["streamed_tools"]

        assert told["finish_reason"] == "tool_calls"
        assert is_place(json.loads(told["call"]["function"]["arguments"]))
        assert told["answered"]["finish_reason"] == "stop"
        assert told["answered"]["message"]["content"]
        (call,) = streamed["choice"]["message"]["tool_calls"]
        assert call["function"]["arguments"] == told["call"]["function"]["arguments"]
        assert streamed["usage"]["total_tokens"] > 0
        runner = official.told["tool_runner"]
        assert runner["content"]
        assert len(runner["places"]) == 1

    def test_parses_an_answer_with_a_schema(self, official: Run) -> None:
        assert is_place(official.told["structured"])

    def test_lists_models_and_embeds(self, official: Run) -> None:
        models, embeddings = official.told["models"], official.told["embeddings"]

        assert "test/plain" in models["ids"]
        assert models["one"]["id"] == "test/plain"
        for packed, plain in zip(embeddings["packed"], embeddings["plain"], strict=True):
            assert packed == pytest.approx(plain, abs=1e-6)
        assert len(embeddings["plain"]) == 2
        # Two tokens at 1 USD a million.
        assert exact(embeddings["usage"]["cost"]) == Decimal("0.000002")

    @pytest.mark.parametrize(
        ("scenario", "kind", "status", "code"),
        [
            ("wrong_key", "AuthenticationError", 401, "invalid_api_key"),
            ("unknown_model", "NotFoundError", 404, "model_not_found"),
            ("wrong_parameter", "BadRequestError", 400, "invalid_value"),
            ("legacy_completions", "NotFoundError", 404, "legacy_completions"),
            ("limited", "RateLimitError", 429, "upstream_rate_limited"),
            ("broken", "InternalServerError", 502, "all_providers_failed"),
            ("overloaded", "InternalServerError", 503, "upstream_overloaded"),
            ("silent", "InternalServerError", 504, "timeout"),
        ],
    )
    def test_raises_its_own_error_classes(
        self, official: Run, scenario: str, kind: str, status: int, code: str
    ) -> None:
        error = official.told[scenario]

        assert error["classes"] == ["OpenAIError", "APIError", kind]
        assert (error["status"], error["code"]) == (status, code)
        assert error["requestID"]
        assert error["message"]

    def test_is_told_which_parameter_was_wrong_and_when_to_come_back(self, official: Run) -> None:
        assert official.told["wrong_parameter"]["param"] == "temperature"
        assert 1 <= int(official.told["limited"]["retryAfter"]) <= 7

    @pytest.mark.parametrize("model", ["broken", "overloaded", "silent"])
    def test_does_not_multiply_our_retries_by_its_own(self, official: Run, model: str) -> None:
        assert official.told[model]["shouldRetry"] == "false"
        # The last endpoint is repeated once after a failure that may pass, a silent one never.
        assert 1 <= official.attempts(model) <= 2

    def test_raises_when_an_answer_breaks_in_the_middle(self, official: Run) -> None:
        told = official.told["cut"]

        assert told["said"]
        assert told["classes"] == ["OpenAIError", "APIError"]
        assert told["message"]
        assert official.attempts("half") == 1


class TestTheAiSdkWithOpenAICompatible:
    def test_gets_whole_answers_and_streams_with_usage_and_cost(self, compatible: Run) -> None:
        whole, streamed = compatible.told["chat"], compatible.told["stream"]

        assert whole["text"]
        assert streamed["text"] == whole["text"]
        assert streamed["pieces"] > 5
        for told in (whole, streamed):
            usage = told["usage"]
            assert told["finishReason"] == "stop"
            assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
            expected = cost_of(usage["inputTokens"], usage["outputTokens"])
            # Its usual place for what a provider tells beyond OpenAI, and a reader of one's own.
            assert exact(usage["raw"]["cost_usd_total"]) == expected
            assert exact(told["providerMetadata"]["tollway"]["cost"]) == expected
            assert told["providerMetadata"]["tollway"]["provider"] == "alpha"
        assert whole["id"].startswith("gen-")
        assert whole["model"] == "test/plain"

    def test_runs_tools_to_their_end(self, compatible: Run) -> None:
        told, streamed = compatible.told["tools"], compatible.told["streamed_tools"]

        first, last = told["steps"]
        assert (first["finishReason"], last["finishReason"]) == ("tool-calls", "stop")
        assert is_place(first["inputs"][0])
        assert first["outputs"][0].endswith("42 m")
        assert told["text"]
        assert streamed == {"text": told["text"], "reasons": ["tool-calls", "stop"]}

    def test_makes_objects_of_a_schema(self, compatible: Run) -> None:
        told = compatible.told["structured"]

        assert is_place(told["object"])
        assert is_place(told["output"])

    def test_reads_reasoning_and_its_tokens(self, compatible: Run) -> None:
        told = compatible.told["reasoning"]

        assert told["reasoningText"]
        assert told["text"]
        assert told["usage"]["outputTokenDetails"]["reasoningTokens"] > 0

    def test_embeds(self, compatible: Run) -> None:
        told = compatible.told["embeddings"]

        assert [len(one) for one in told["embeddings"]] == [4, 4]
        assert told["usage"]["tokens"] == 2

    @pytest.mark.parametrize(
        ("scenario", "status", "is_retryable"),
        [
            ("unknown_model", 404, False),
            ("wrong_parameter", 400, False),
            ("broken", 502, True),
            ("limited", 429, True),
        ],
    )
    def test_raises_call_errors_with_our_words(
        self, compatible: Run, scenario: str, status: int, is_retryable: bool
    ) -> None:
        error = compatible.told[scenario]

        assert error["isCallError"]
        assert (error["status"], error["isRetryable"]) == (status, is_retryable)
        assert error["message"] == error["data"]["error"]["message"]

    def test_is_told_of_an_answer_that_breaks_in_the_middle(self, compatible: Run) -> None:
        told = compatible.told["cut"]

        assert told["said"]
        assert len(told["errors"]) == 1
        assert told["finish"] == "error"


class TestTheAiSdkWithOpenRouter:
    def test_gets_cost_and_provider_with_whole_answers_and_streams(self, openrouter: Run) -> None:
        whole, streamed = openrouter.told["chat"], openrouter.told["stream"]

        assert whole["text"]
        assert streamed["text"] == whole["text"]
        assert whole["id"].startswith("gen-")
        for told in (whole, streamed):
            usage = told["openrouter"]["usage"]
            expected = cost_of(usage["promptTokens"], usage["completionTokens"])
            assert exact(usage["cost"]) == expected
            assert exact(usage["costDetails"]["upstreamInferenceCost"]) == expected
            assert told["openrouter"]["provider"] == "alpha"
            assert told["finishReason"] == "stop"

    def test_sends_preferences_and_further_models(self, openrouter: Run) -> None:
        told = openrouter.told["preferences"]

        assert told["provider"] == "beta"
        assert told["error"]["status"] == 400
        assert "`only`" in told["error"]["message"]
        assert openrouter.told["fallback"]["model"] == "test/plain"

    def test_runs_tools_to_their_end(self, openrouter: Run) -> None:
        for scenario in ("tools", "streamed_tools"):
            told = openrouter.told[scenario]
            assert told["text"]
            assert told["reasons"] == ["tool-calls", "stop"]

    def test_makes_objects_of_a_schema(self, openrouter: Run) -> None:
        assert is_place(openrouter.told["structured"])

    def test_reads_reasoning_whole_and_in_streams(self, openrouter: Run) -> None:
        told = openrouter.told["reasoning"]

        assert told["whole"]["reasoning"]
        assert told["whole"]["usage"]["outputTokenDetails"]["reasoningTokens"] > 0
        assert told["streamed"]["reasoning"] == told["whole"]["reasoning"]
        assert told["streamed"]["text"] == told["whole"]["text"]

    def test_embeds(self, openrouter: Run) -> None:
        assert openrouter.told["embeddings"] == {"sizes": [1536, 1536], "usage": {"tokens": 2}}

    @pytest.mark.parametrize(
        ("scenario", "status"), [("unknown_model", 404), ("wrong_parameter", 400), ("broken", 502)]
    )
    def test_reads_errors_in_openrouters_shape(
        self, openrouter: Run, scenario: str, status: int
    ) -> None:
        error = openrouter.told[scenario]

        assert error["isCallError"]
        assert error["status"] == error["data"]["error"]["code"] == status
        assert error["message"].endswith(error["data"]["error"]["message"])

    def test_is_told_of_an_answer_that_breaks_in_the_middle(self, openrouter: Run) -> None:
        told = openrouter.told["cut"]

        assert told["said"]
        assert len(told["errors"]) == 1
        assert told["finish"] == "error"
