"""The official ``anthropic`` client works unchanged against ``/v1/messages``, whoever answers."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import pytest

from tests.clients.conftest import Site

USER: Any = {"role": "user", "content": "How far is the bridge?"}
TOOL: Any = {
    "name": "measure",
    "description": "Measures a way.",
    "input_schema": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "metres": {"type": "integer"}},
        "required": ["place", "metres"],
    },
}


@pytest.fixture
def claude(site: Site) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=site.gateway.url, api_key=site.key) as official:
        yield official


def test_a_whole_message_has_text_usage_and_its_cost(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model="test/plain", max_tokens=400, messages=[USER])

    assert message.type == "message"
    assert message.id.startswith("gen-")
    assert message.stop_reason == "end_turn"
    assert [block.type for block in message.content] == ["text"]
    usage = message.usage
    more: dict[str, Any] = usage.model_extra or {}
    expected = (
        Decimal(usage.input_tokens) / 1_000_000 + Decimal(usage.output_tokens) * 2 / 1_000_000
    )
    assert Decimal(str(more["cost_usd_total"])) == expected
    metadata: Any = (message.model_extra or {})["metadata"]
    assert metadata["used_provider"] == "alpha"


def test_a_stream_adds_up_to_the_whole_message(claude: anthropic.Anthropic) -> None:
    whole = claude.messages.create(model="test/plain", max_tokens=400, messages=[USER])

    with claude.messages.stream(model="test/plain", max_tokens=400, messages=[USER]) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()

    assert [block.type for block in streamed.content] == ["text"]
    assert text == text_of(whole) == text_of(streamed)
    assert streamed.stop_reason == "end_turn"
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.input_tokens == whole.usage.input_tokens


def test_thinking_comes_as_a_block_of_its_own(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model="test/thinking",
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[USER],
    ) as stream:
        message = stream.get_final_message()

    assert [block.type for block in message.content] == ["thinking", "text"]


@pytest.mark.parametrize("streams", [False, True])
def test_a_tool_is_called_and_its_result_answered(
    claude: anthropic.Anthropic, streams: bool
) -> None:
    asked: dict[str, Any] = {
        "model": "test/plain",
        "max_tokens": 400,
        "tools": [TOOL],
        "system": [
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
    }
    first = ask(
        claude, streams, **asked, messages=[USER], tool_choice={"type": "tool", "name": "measure"}
    )

    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert call.name == "measure"
    assert isinstance(call.input, dict)
    answered = ask(
        claude,
        streams,
        **asked,
        messages=[
            USER,
            {"role": "assistant", "content": first.content},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": call.id, "content": "120 metres"},
                    {"type": "text", "text": "And in feet?"},
                ],
            },
        ],
        tool_choice={"type": "none"},
    )
    assert answered.stop_reason == "end_turn"
    assert text_of(answered)


def test_an_image_and_a_document_reach_the_provider(
    claude: anthropic.Anthropic, site: Site
) -> None:
    pixel = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg=="
    )
    message = claude.messages.create(
        model="test/plain",
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": pixel},
                    },
                    {
                        "type": "document",
                        "title": "Tolls",
                        "source": {"type": "text", "media_type": "text/plain", "data": "Two."},
                    },
                    {"type": "text", "text": "What is it?"},
                ],
            }
        ],
    )

    assert text_of(message)
    assert message.usage.input_tokens > 0


@pytest.mark.parametrize(
    ("model", "raised", "kind"),
    [
        ("test/nowhere", anthropic.NotFoundError, "not_found_error"),
        ("test/limited", anthropic.RateLimitError, "rate_limit_error"),
        ("test/broken", anthropic.InternalServerError, "api_error"),
    ],
)
def test_errors_come_in_the_clients_own_classes(
    claude: anthropic.Anthropic, model: str, raised: type[anthropic.APIStatusError], kind: str
) -> None:
    with pytest.raises(raised) as caught:
        claude.with_options(max_retries=0).messages.create(
            model=model, max_tokens=10, messages=[USER]
        )

    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == kind


def test_a_wrong_key_is_an_authentication_error(site: Site) -> None:
    stranger = anthropic.Anthropic(base_url=site.gateway.url, api_key="tw_nobody")

    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="test/plain", max_tokens=10, messages=[USER])


def test_a_missing_field_is_named_as_the_client_knows_it(claude: anthropic.Anthropic) -> None:
    sent: Any = {"model": "test/plain", "messages": [USER]}

    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.post("/v1/messages", cast_to=object, body=sent)

    body: Any = caught.value.body
    assert body["error"]["param"] == "max_tokens"


def test_an_error_after_the_first_words_raises_in_the_stream(claude: anthropic.Anthropic) -> None:
    with (
        pytest.raises(anthropic.APIStatusError),
        claude.messages.stream(model="test/half", max_tokens=400, messages=[USER]) as stream,
    ):
        for _ in stream:
            pass


def test_the_clients_retries_do_not_multiply_the_gateways(
    claude: anthropic.Anthropic, received: Callable[[], int]
) -> None:
    with pytest.raises(anthropic.InternalServerError):
        claude.messages.create(model="test/broken", max_tokens=10, messages=[USER])

    assert received() <= 2


def test_another_endpoint_answers_when_the_first_fails(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(
        model="test/broken",
        max_tokens=50,
        messages=[USER],
        extra_body={"models": ["test/plain"]},
    )

    metadata: Any = (message.model_extra or {})["metadata"]
    assert metadata["used_model"] == "test/plain"


def test_tokens_are_counted_before_anything_is_spent(
    claude: anthropic.Anthropic, received: Callable[[], int]
) -> None:
    counted = claude.messages.count_tokens(
        model="test/plain", messages=[{"role": "user", "content": "word " * 400}]
    )

    assert 400 <= counted.input_tokens <= 600
    assert received() == 0


@pytest.mark.parametrize("streams", [False, True])
def test_thinking_goes_back_to_claude_with_its_signature(
    claude: anthropic.Anthropic, site: Site, streams: bool
) -> None:
    asked: dict[str, Any] = {
        "model": "test/claude",
        "max_tokens": 4000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [TOOL],
    }
    question = {"role": "user", "content": "Measure the bridge, please, with the tool."}
    first = ask(claude, streams, **asked, messages=[question])
    thought = next(block for block in first.content if block.type == "thinking")
    assert thought.thinking
    assert thought.signature
    history: list[Any] = [question, {"role": "assistant", "content": first.content}]
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": "120 metres"} for call in calls
    ]
    history.append({"role": "user", "content": [*results, {"type": "text", "text": "And then?"}]})
    answered = ask(claude, streams, **asked, messages=history)

    assert answered.stop_reason in {"end_turn", "tool_use"}
    sent = site.simulator.ledger[-1].request
    replayed = sent["messages"][1]["content"][0]
    assert (replayed["type"], replayed["signature"]) == ("thinking", thought.signature)
    assert site.simulator.ledger[-1].path == "/anthropic/v1/messages"


def test_cache_marks_arrive_and_what_they_save_is_told(
    claude: anthropic.Anthropic, site: Site
) -> None:
    law = {"type": "text", "text": "Tolls are two. " * 800, "cache_control": {"type": "ephemeral"}}
    asked: dict[str, Any] = {"model": "test/claude", "max_tokens": 50, "system": [law]}
    written = ask(claude, False, **asked, messages=[USER]).usage
    read = ask(claude, False, **asked, messages=[USER]).usage

    sent = site.simulator.ledger[-1].request
    assert sent["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert (written.cache_creation_input_tokens or 0) > 1024
    # Caches are read in whole blocks.
    assert (read.cache_read_input_tokens or 0) > 0.9 * (written.cache_creation_input_tokens or 0)
    assert read.input_tokens == written.input_tokens


def test_a_web_search_is_claudes_own_and_counted(claude: anthropic.Anthropic, site: Site) -> None:
    message = claude.messages.create(
        model="test/claude",
        max_tokens=500,
        messages=[USER],
        tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
    )

    (tool,) = site.simulator.ledger[-1].request["tools"]
    assert (tool["type"], tool["max_uses"]) == ("web_search_20250305", 2)
    searches = message.usage.server_tool_use
    assert searches is not None
    assert searches.web_search_requests > 0
    more: dict[str, Any] = message.usage.model_extra or {}
    assert Decimal(str(more["cost_usd_web_search"])) == Decimal("0.01") * (
        searches.web_search_requests
    )


@pytest.mark.parametrize("version", ["2023-06-01", "2099-01-01", "not a version"])
def test_whatever_version_a_client_names_it_is_answered(site: Site, version: str) -> None:
    with anthropic.Anthropic(
        base_url=site.gateway.url, api_key=site.key, default_headers={"anthropic-version": version}
    ) as claude:
        assert text_of(claude.messages.create(model="test/plain", max_tokens=9, messages=[USER]))


def ask(claude: anthropic.Anthropic, streams: bool, **asked: Any) -> anthropic.types.Message:
    create: Callable[..., Any] = claude.messages.create
    if not streams:
        whole: anthropic.types.Message = create(**asked)
        return whole
    with claude.messages.stream(**asked) as stream:
        final: anthropic.types.Message = stream.get_final_message()
    return final


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")
