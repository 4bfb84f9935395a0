"""The official ``openai`` client works unchanged: only its base URL and its key are ours."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.clients.conftest import Site

USER: Any = {"role": "user", "content": "How far is the bridge?"}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "measure",
        "description": "Measures a way.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "metres": {"type": "integer"}},
            "required": ["place", "metres"],
            "additionalProperties": False,
        },
    },
}


class Distance(BaseModel):
    """An answer with a structure."""

    place: str
    metres: int


def cost_of(prompt_tokens: int, completion_tokens: int) -> Decimal:
    """At 1 USD a million tokens in and 2 USD a million tokens out."""
    return Decimal(prompt_tokens) / 1_000_000 + Decimal(completion_tokens) * 2 / 1_000_000


def test_a_whole_answer_has_text_usage_and_its_cost(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="test/plain", messages=[USER])

    assert answer.id.startswith("gen-")
    assert answer.object == "chat.completion"
    assert answer.model == "test/plain"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    usage = answer.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    more: dict[str, Any] = usage.model_extra or {}
    expected = cost_of(usage.prompt_tokens, usage.completion_tokens)
    assert Decimal(str(more["cost_usd_total"])) == expected
    # Typed as OpenAI's own, which holds texts alone; the client hands on what came.
    metadata: Any = answer.metadata
    assert metadata["used_provider"] == "alpha"
    assert len(metadata["routing"]) == 1


def test_a_stream_gives_the_same_text_and_ends_with_the_cost(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="test/plain", messages=[USER])

    with client.chat.completions.create(model="test/plain", messages=[USER], stream=True) as stream:
        chunks = list(stream)

    assert text_of(chunks) == whole.choices[0].message.content
    assert len(chunks) > 5
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[0].id.startswith("gen-")
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert whole.usage is not None
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens
    assert (usage.model_extra or {})["cost_usd_total"] is not None


def test_asked_for_usage_a_stream_ends_with_a_chunk_without_choices(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="test/plain",
            messages=[USER],
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks[:-1])
    usage = chunks[-1].usage
    told = Decimal(str((usage.model_extra or {})["cost_usd_total"]))
    assert told == cost_of(usage.prompt_tokens, usage.completion_tokens)


@pytest.mark.anyio
async def test_the_asynchronous_client_gets_whole_answers_and_streams(site: Site) -> None:
    async with openai.AsyncOpenAI(base_url=site.base_url, api_key=site.key) as client:
        whole = await client.chat.completions.create(model="test/plain", messages=[USER])
        stream = await client.chat.completions.create(
            model="test/plain", messages=[USER], stream=True
        )
        chunks = [chunk async for chunk in stream]

    assert whole.choices[0].message.content
    assert text_of(chunks) == whole.choices[0].message.content


@pytest.mark.anyio
async def test_the_asynchronous_client_gets_its_exception_classes(site: Site) -> None:
    async with openai.AsyncOpenAI(base_url=site.base_url, api_key="tw_wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="test/plain", messages=[USER])


def test_a_tool_is_called_and_its_result_is_answered(client: openai.OpenAI) -> None:
    asked = client.chat.completions.create(model="test/plain", messages=[USER], tools=[TOOL])

    assert asked.choices[0].finish_reason == "tool_calls"
    message = asked.choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "measure"
    assert set(json.loads(call.function.arguments)) == {"place", "metres"}

    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "42"}
    answered = client.chat.completions.create(
        model="test/plain",
        messages=[USER, message.model_dump(exclude_none=True), result],  # type: ignore[list-item]
        tools=[TOOL],
    )

    assert answered.choices[0].finish_reason == "stop"
    assert answered.choices[0].message.content


def test_the_parts_of_a_streamed_tool_call_add_up(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="test/plain", messages=[USER], tools=[TOOL]
    ) as stream:
        final = stream.get_final_completion()

    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert len(calls) == 1
    assert calls[0].id.startswith("call_")
    assert set(json.loads(calls[0].function.arguments)) == {"place", "metres"}


# The client copies the answer through its model, in which `metadata` holds texts alone.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_an_answer_with_a_schema_is_parsed_into_its_class(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="test/plain", messages=[USER], response_format=Distance
    )

    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Distance)


def test_the_raw_response_has_the_id_and_the_cost_in_its_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="test/plain", messages=[USER])

    answer = raw.parse()
    assert raw.headers["x-generation-id"] == answer.id
    assert answer.usage is not None
    told = Decimal(raw.headers["x-tollway-cost-usd"])
    assert told == cost_of(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert raw.headers["x-tollway-provider"] == "alpha"


def test_a_streaming_response_can_be_read_line_by_line(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="test/plain", messages=[USER], stream=True
    ) as response:
        lines = [line for line in response.iter_lines() if line]

    assert response.headers["x-generation-id"].startswith("gen-")
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)


def test_the_models_are_those_that_the_key_may_use(client: openai.OpenAI) -> None:
    models = {model.id: model.owned_by for model in client.models.list()}

    assert models["test/plain"] == "test"
    assert "test/limited" in models


def test_a_wrong_key_is_an_authentication_error(site: Site) -> None:
    with (
        openai.OpenAI(base_url=site.base_url, api_key="tw_no_such_key") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="test/plain", messages=[USER])

    assert caught.value.status_code == 401
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_not_found_and_the_nearest_name_is_told(
    client: openai.OpenAI, received: Callable[[], int]
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="test/plian", messages=[USER])

    assert caught.value.code == "model_not_found"
    assert "test/plain" in caught.value.message
    assert received() == 0


def test_a_wrong_parameter_is_a_bad_request_that_names_it(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="test/plain", messages=[])

    assert caught.value.param == "messages"
    assert caught.value.type == "invalid_request_error"


def test_when_every_endpoint_is_limited_the_soonest_retry_is_told(
    site: Site, received: Callable[[], int]
) -> None:
    with (
        openai.OpenAI(base_url=site.base_url, api_key=site.key, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(model="test/limited", messages=[USER])

    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 7
    assert received() == 2


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("test/broken", 502, None),
        ("test/overloaded", 503, "upstream_overloaded"),
        ("test/silent", 504, "timeout"),
    ],
)
def test_a_provider_that_fails_is_an_internal_server_error(
    client: openai.OpenAI, model: str, status: int, code: str | None
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=[USER])

    assert caught.value.status_code == status
    assert code is None or caught.value.code == code


@pytest.mark.parametrize("model", ["test/broken", "test/overloaded", "test/silent"])
def test_the_clients_own_retries_do_not_multiply_ours(
    client: openai.OpenAI, received: Callable[[], int], model: str
) -> None:
    assert client.max_retries == 2

    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=[USER])

    assert caught.value.response.headers["x-should-retry"] == "false"
    # The last endpoint is repeated once after a failure that may pass, a silent one never.
    assert received() <= 2


@pytest.mark.parametrize("model", ["test/cut", "test/half"])
def test_an_answer_that_breaks_in_the_middle_raises_after_what_was_said(
    client: openai.OpenAI, received: Callable[[], int], model: str
) -> None:
    said: list[ChatCompletionChunk] = []

    stream = client.chat.completions.create(model=model, messages=[USER], stream=True)
    with pytest.raises(openai.APIError) as caught:  # noqa: PT012 - what came before it counts too
        for chunk in stream:
            said.append(chunk)  # noqa: PERF402 - an extension would lose them

    assert text_of(said)
    assert not isinstance(caught.value, openai.APIStatusError)
    assert caught.value.message
    assert received() == 1


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
