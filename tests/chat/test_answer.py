"""Answers on the wire."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Raw
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.chat.answer import ChunkFrame, render_completion
from gateway.chat.routing_report import make_metadata, render_metadata
from gateway.chat.usage_report import render_usage
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord
from pricing.cost import UNPRICED, Cost
from pricing.usage import Usage

CHOICES = b'[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]'
CHUNK_CHOICES = b'[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]'
COST = Cost(total_usd=Decimal("0.0000105"), lines={"input_tokens": Decimal("0.0000105")})


def attempt(number: int, provider: str, outcome: Outcome, status_code: int) -> AttemptRecord:
    return AttemptRecord(
        number=number,
        kind="primary" if number == 1 else "fallback",
        provider=provider,
        model="openai/gpt-4o",
        endpoint=f"{provider}/gpt-4o",
        provider_model="gpt-4o-2024",
        started_at=datetime(2026, 11, 1, tzinfo=UTC),
        outcome=outcome,
        status_code=status_code,
        duration_ms=12.34567,
        cost=UNPRICED,
    )


def test_a_completion_has_its_members_in_order() -> None:
    body = render_completion(
        id="gen-1",
        created=5,
        model="openai/gpt-4o",
        provider='a"b',
        choices=CHOICES,
        usage=render_usage(Usage(input_tokens=4, requests=1), COST),
        metadata=b"{}",
        extras={"system_fingerprint": Raw(b'"fp"'), "id": Raw(b'"theirs"'), "usage": Raw(b"1")},
        service_tier="flex",
    )

    value = json.loads(body)
    assert list(value) == [
        "id",
        "object",
        "created",
        "model",
        "provider",
        "choices",
        "system_fingerprint",
        "service_tier",
        "usage",
        "metadata",
    ]
    assert value["id"] == "gen-1"
    assert value["provider"] == 'a"b'
    assert value["usage"]["cost_usd_total"] == 0.0000105
    assert ChatCompletion.model_validate(value).choices[0].message.content == "hi"


def test_a_chunk_is_one_event() -> None:
    frame = ChunkFrame(id="gen-1", created=5, model="m", provider="p")

    event = frame.chunk(CHUNK_CHOICES, b',"system_fingerprint":"fp"')

    assert event == (
        b'data: {"id":"gen-1","object":"chat.completion.chunk","created":5,"model":"m",'
        b'"provider":"p","choices":' + CHUNK_CHOICES + b',"system_fingerprint":"fp"}\n\n'
    )


def test_the_last_chunk_carries_usage_and_metadata() -> None:
    usage = render_usage(Usage(input_tokens=4, output_tokens=1), COST)

    event = ChunkFrame(id="gen-1", created=5, model="m", provider="p").with_usage(
        b"[]", b"", usage, b'{"attempts":1}'
    )

    chunk = ChatCompletionChunk.model_validate_json(event.removeprefix(b"data: "))
    assert chunk.choices == []
    assert chunk.usage is not None
    assert chunk.usage.total_tokens == 5
    assert json.loads(event[6:])["metadata"] == {"attempts": 1}


def test_an_error_chunk_is_a_valid_chunk_with_an_error() -> None:
    event = ChunkFrame(id="gen-1", created=5, model="m", provider="p").error(
        'broken "pipe"', "api_error", "upstream_error", {"provider": "p"}
    )

    value = json.loads(event.removeprefix(b"data: "))
    assert value["object"] == "chat.completion.chunk"
    assert value["choices"][0]["finish_reason"] == "error"
    assert value["error"] == {
        "message": 'broken "pipe"',
        "type": "api_error",
        "param": None,
        "code": "upstream_error",
        "metadata": {"provider": "p"},
    }


def test_metadata_tells_every_attempt() -> None:
    metadata = make_metadata(
        requested_model="gpt-4o",
        requested_provider=None,
        attempts=[
            attempt(1, "azure", Outcome.CONNECT_ERROR, 0),
            attempt(2, "groq", Outcome.RATE_LIMITED, 429),
            attempt(3, "openai", Outcome.SUCCESS, 200),
        ],
        underlying_used_model="gpt-4o-2024-08-06",
        strategy="price-weighted",
        warnings=["w", "w"],
    )

    value = json.loads(render_metadata(metadata))
    assert value["used_provider"] == "openai"
    assert value["used_model"] == "openai/gpt-4o"
    assert value["underlying_used_model"] == "gpt-4o-2024-08-06"
    assert value["attempts"] == 3
    assert value["warnings"] == ["w"]
    assert [(step["error_type"], step["succeeded"]) for step in value["routing"]] == [
        ("network_error", False),
        ("rate_limited", False),
        ("none", True),
    ]
    assert value["routing"][0]["duration_ms"] == 12.346


def test_metadata_of_a_failed_request_names_nobody() -> None:
    metadata = make_metadata(
        requested_model="x",
        requested_provider="p",
        attempts=[attempt(1, "p", Outcome.TOO_LARGE, 413)],
        underlying_used_model="y",
    )

    assert metadata.used_provider is None
    assert metadata.underlying_used_model is None
    assert metadata.routing[0].error_type == "upstream_error"
