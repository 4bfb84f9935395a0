"""The usage of every API in the table of ``pricing.md`` §6.5, from its raw body to disjoint meters.

One answer per row of the table, read by the adapter that its provider has here. Images and realtime
of OpenAI are not served, so that the second row has no body.
"""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from gateway.providers.base import Target
from gateway.providers.registry import adapter_for, quirks_of
from pricing.usage import METERS, Usage
from tests.routing.factories import make_endpoint


def chat(usage: dict[str, Any], **members: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": usage} | members


def messages(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
        "usage": usage,
    }


def converse(usage: dict[str, Any]) -> dict[str, Any]:
    said = {"message": {"role": "assistant", "content": [{"text": "x"}]}}
    return {"output": said, "stopReason": "end_turn", "usage": usage}


def generated(usage: dict[str, Any]) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": "x"}]}
    candidate = {"content": content, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage}


ROWS: list[Any] = []


def row(
    name: str, protocol: str, provider: str, body: dict[str, Any], prompt: int, **meters: int
) -> None:
    """``prompt`` is the provider's own total of what went in, worked out by hand."""
    ROWS.append(
        pytest.param(protocol, provider, body, prompt, Usage(requests=1, **meters), id=name)
    )


OPENAI = {
    "prompt_tokens": 2000,
    "completion_tokens": 700,
    "total_tokens": 2700,
    "prompt_tokens_details": {"cached_tokens": 1200, "cache_write_tokens": 300, "audio_tokens": 50},
    "completion_tokens_details": {"reasoning_tokens": 400, "audio_tokens": 100},
}
OPENAI_METERS = {
    "input_tokens": 450,
    "cache_read_tokens": 1200,
    "cache_write_tokens": 300,
    "audio_input_tokens": 50,
    "output_tokens": 200,
    "reasoning_tokens": 400,
    "audio_output_tokens": 100,
}
for name in ("openai", "azure"):
    row(f"{name}-chat", "openai", name, chat(OPENAI), 2000, **OPENAI_METERS)
row(
    "openai-responses",
    "openai",
    "openai",
    chat(
        {
            "input_tokens": 900,
            "input_tokens_details": {"cached_tokens": 500},
            "output_tokens": 90,
            "output_tokens_details": {"reasoning_tokens": 60},
            "total_tokens": 990,
        }
    ),
    900,
    input_tokens=400,
    cache_read_tokens=500,
    output_tokens=30,
    reasoning_tokens=60,
)
CLAUDE = {
    "input_tokens": 100,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 80,
    "server_tool_use": {"web_search_requests": 2},
    "service_tier": "standard",
}
CLAUDE_METERS = {
    "input_tokens": 100,
    "cache_read_tokens": 1000,
    "cache_write_tokens": 200,
    "cache_write_1h_tokens": 100,
    "output_tokens": 80,
    "web_searches": 2,
}
row("anthropic-messages", "anthropic", "anthropic", messages(CLAUDE), 1400, **CLAUDE_METERS)
row(
    "anthropic-without-a-split",
    "anthropic",
    "anthropic",
    messages({"input_tokens": 10, "cache_creation_input_tokens": 90, "output_tokens": 5}),
    100,
    input_tokens=10,
    cache_write_tokens=90,
    output_tokens=5,
)
row(
    "bedrock-converse",
    "bedrock",
    "amazon-bedrock",
    converse(
        {
            "inputTokens": 100,
            "outputTokens": 80,
            "totalTokens": 1480,
            "cacheReadInputTokens": 1000,
            "cacheWriteInputTokens": 300,
            "cacheDetails": [
                {"ttl": "5m", "inputTokens": 200},
                {"ttl": "1h", "inputTokens": 100},
            ],
        }
    ),
    1400,
    input_tokens=100,
    cache_read_tokens=1000,
    cache_write_tokens=200,
    cache_write_1h_tokens=100,
    output_tokens=80,
)
for name in ("google", "google-vertex"):
    row(
        f"{name}-native",
        "gemini",
        name,
        generated(
            {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 400,
                "toolUsePromptTokenCount": 50,
                "candidatesTokenCount": 70,
                "thoughtsTokenCount": 30,
                "totalTokenCount": 1150,
                "promptTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 100},
                    {"modality": "DOCUMENT", "tokenCount": 258},
                ],
            }
        ),
        1050,
        input_tokens=292,
        cache_read_tokens=400,
        audio_input_tokens=100,
        image_input_tokens=258,
        output_tokens=70,
        reasoning_tokens=30,
    )
row(
    "gemini-openai-compatible",
    "openai",
    "google",
    chat({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 170}),
    100,
    input_tokens=100,
    output_tokens=20,
    reasoning_tokens=50,
)
row(
    "xai-chat",
    "openai",
    "x-ai",
    chat(
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        }
    ),
    10120,
    input_tokens=9992,
    cache_read_tokens=128,
    output_tokens=1499,
    reasoning_tokens=2809,
)
row(
    "xai-responses",
    "openai",
    "x-ai",
    chat(
        {
            "input_tokens": 100,
            "output_tokens": 90,
            "output_tokens_details": {"reasoning_tokens": 60},
            "total_tokens": 190,
        }
    ),
    100,
    input_tokens=100,
    output_tokens=30,
    reasoning_tokens=60,
)
row(
    "deepseek",
    "openai",
    "deepseek",
    chat(
        {
            "prompt_tokens": 10_000,
            "prompt_cache_hit_tokens": 8000,
            "prompt_cache_miss_tokens": 2000,
            "completion_tokens": 1500,
            "total_tokens": 11_500,
            "completion_tokens_details": {"reasoning_tokens": 900},
        }
    ),
    10_000,
    input_tokens=2000,
    cache_read_tokens=8000,
    output_tokens=600,
    reasoning_tokens=900,
)
INCLUSIVE = ("mistral", "groq", "cerebras", "fireworks", "together", "zai", "novita", "deepinfra")
for name in INCLUSIVE:
    row(
        name,
        "openai",
        name,
        chat(
            {
                "prompt_tokens": 1013,
                "completion_tokens": 100,
                "total_tokens": 1113,
                "prompt_tokens_details": {"cached_tokens": 1008},
            }
        ),
        1013,
        input_tokens=5,
        cache_read_tokens=1008,
        output_tokens=100,
    )
row(
    "moonshot",
    "openai",
    "moonshotai",
    chat(
        {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "total_tokens": 1100,
            "cached_tokens": 600,
            "prompt_tokens_details": {"cache_write_tokens": 300},
        }
    ),
    1000,
    input_tokens=100,
    cache_read_tokens=600,
    cache_write_tokens=300,
    output_tokens=100,
)
row("minimax-anthropic-flavour", "anthropic", "minimax", messages(CLAUDE), 1400, **CLAUDE_METERS)
row(
    "minimax-chat-flavour",
    "openai",
    "minimax",
    chat(
        {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "total_tokens": 1100,
            "prompt_tokens_details": {"cached_tokens": 700},
            "completion_tokens_details": {"reasoning_tokens": 80},
        }
    ),
    1000,
    input_tokens=300,
    cache_read_tokens=700,
    output_tokens=20,
    reasoning_tokens=80,
)
row(
    "perplexity",
    "openai",
    "perplexity",
    chat(
        {
            "prompt_tokens": 33,
            "completion_tokens": 7163,
            "total_tokens": 7196,
            "reasoning_tokens": 73997,
            "citation_tokens": 20016,
            "num_search_queries": 18,
        }
    ),
    33,
    input_tokens=33,
    output_tokens=7163,
    reasoning_tokens=73997,
    citation_tokens=20016,
    web_searches=18,
)
row(
    "cohere-v2",
    "openai",
    "cohere",
    chat(
        {
            "billed_units": {"input_tokens": 50.0, "output_tokens": 20.0, "search_units": 1.0},
            "tokens": {"input_tokens": 1250.0, "output_tokens": 22.0},
        }
    ),
    50,
    input_tokens=50,
    output_tokens=20,
    web_searches=1,
)
row(
    "cohere-compatible",
    "openai",
    "cohere",
    chat({"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}),
    50,
    input_tokens=50,
    output_tokens=20,
)
row(
    "openrouter",
    "openai",
    "openrouter",
    chat(
        {
            "prompt_tokens": 194,
            "completion_tokens": 20,
            "total_tokens": 214,
            "cost": 0.95,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50},
            "completion_tokens_details": {"reasoning_tokens": 5},
        }
    ),
    194,
    input_tokens=44,
    cache_read_tokens=100,
    cache_write_tokens=50,
    output_tokens=15,
    reasoning_tokens=5,
)


@pytest.mark.parametrize(("protocol", "provider", "body", "prompt", "expected"), ROWS)
def test_usage_of_every_api_becomes_disjoint_meters(
    protocol: str, provider: str, body: dict[str, Any], prompt: int, expected: Usage
) -> None:
    target = Target(
        endpoint=make_endpoint(provider, "acme/large"),
        base_url="https://api.example.com/v1",
        quirks=quirks_of(provider),
    )
    completion = adapter_for(protocol).parse_response(200, {}, json.dumps(body).encode(), target)

    assert completion.usage == expected
    assert not completion.is_usage_doubtful
    assert expected.prompt_tokens == prompt
    assert all(getattr(expected, meter) >= 0 for meter in METERS)


def test_a_cost_that_the_provider_reports_stands_beside_the_meters() -> None:
    reported = {
        "openrouter": ({"cost": 0.95}, "0.95"),
        "x-ai": ({"cost_in_usd_ticks": 232_856_000}, "0.0232856"),
        "perplexity": ({"cost": {"total_cost": 0.006}}, "0.006"),
    }
    for provider, (more, cost) in reported.items():
        body = chat({"prompt_tokens": 1, "completion_tokens": 1} | more)
        target = Target(
            endpoint=make_endpoint(provider, "acme/large"),
            base_url="https://api.example.com/v1",
            quirks=quirks_of(provider),
        )
        completion = adapter_for("openai").parse_response(
            200, {}, msgspec.json.encode(body), target
        )
        assert completion.reported_cost_usd == Decimal(cost)
