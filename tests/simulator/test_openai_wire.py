"""The official client works against the simulator, and strictness is OpenAI's."""

import asyncio
import json
from typing import Any

import openai
import pytest

from gateway.simulator.manifest import MANIFEST
from gateway.simulator.server import Simulator
from tests.simulator.caller import QUESTION, ask, read_reply, request_bytes

pytestmark = pytest.mark.anyio

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "measure",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "metres": {"type": "integer"}},
            "required": ["place", "metres"],
        },
    },
}
USER: Any = {"role": "user", "content": "How far is the bridge?"}
CALLING: Any = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "measure", "arguments": "{}"}}
    ],
}
RESULT: Any = {"role": "tool", "tool_call_id": "call_1", "content": "42"}


async def test_an_answer_is_the_same_for_the_same_request(client: openai.AsyncOpenAI) -> None:
    first = await client.chat.completions.create(model="gpt-4o-mini", messages=[USER])
    again = await client.chat.completions.create(model="gpt-4o-mini", messages=[USER])

    text = first.choices[0].message.content
    assert text
    assert text == again.choices[0].message.content
    assert first.id != again.id
    assert first.usage is not None
    assert first.usage.completion_tokens == -(-len(text.encode()) // 4)
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens


async def test_a_stream_says_what_the_whole_says(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="gpt-4o-mini", messages=[USER])

    stream = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[USER], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert len(pieces) > 5
    assert "".join(pieces) == whole.choices[0].message.content


async def test_usage_comes_in_a_stream_only_when_asked(simulator: Simulator) -> None:
    reply = await ask(simulator, "gpt-4o-mini", stream=True)

    assert b'"usage"' not in reply.body
    assert reply.events()[-1] == "[DONE]"
    assert simulator.ledger[0].is_usage_sent is False


async def test_tools_are_called_and_their_result_is_answered(client: openai.AsyncOpenAI) -> None:
    asked = await client.chat.completions.create(model="gpt-4o", messages=[USER], tools=[TOOL])
    message = asked.choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    history: Any = [USER, message, {**RESULT, "tool_call_id": call.id}]
    answered = await client.chat.completions.create(model="gpt-4o", messages=history, tools=[TOOL])

    assert asked.choices[0].finish_reason == "tool_calls"
    assert set(json.loads(call.function.arguments)) == {"place", "metres"}
    assert answered.choices[0].finish_reason == "stop"
    assert answered.choices[0].message.content


async def test_tool_calls_stream_in_pieces(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=[USER], tools=[TOOL], stream=True
    )
    calls = [
        call
        async for chunk in stream
        for call in (chunk.choices[0].delta.tool_calls or [])
        if call.function is not None
    ]

    assert calls[0].id is not None
    assert all(call.id is None for call in calls[1:])
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert set(json.loads(arguments)) == {"place", "metres"}


async def test_tool_choice_decides(client: openai.AsyncOpenAI) -> None:
    create = client.chat.completions.create
    named: Any = {"type": "function", "function": {"name": "measure"}}

    never = await create(model="m", messages=[USER], tools=[TOOL], tool_choice="none")
    always = await create(
        model="m", messages=[USER, CALLING, RESULT], tools=[TOOL], tool_choice="required"
    )
    this = await create(model="m", messages=[USER], tools=[TOOL], tool_choice=named)

    assert never.choices[0].message.tool_calls is None
    assert always.choices[0].message.tool_calls is not None
    assert this.choices[0].message.tool_calls is not None


async def test_a_json_schema_is_satisfied(client: openai.AsyncOpenAI) -> None:
    schema = TOOL["function"]["parameters"]
    shape: Any = {"type": "json_schema", "json_schema": {"name": "distance", "schema": schema}}

    answer = await client.chat.completions.create(model="m", messages=[USER], response_format=shape)

    assert set(json.loads(answer.choices[0].message.content or "")) == {"place", "metres"}


async def test_length_stop_and_count_are_obeyed(client: openai.AsyncOpenAI) -> None:
    create = client.chat.completions.create

    short = await create(model="m", messages=[USER], max_tokens=5)
    stopped = await create(model="m!text=one two three", messages=[USER], stop=["two"])
    many = await create(model="m", messages=[USER], n=3)

    assert (short.choices[0].finish_reason, short.usage and short.usage.completion_tokens) == (
        "length",
        5,
    )
    assert stopped.choices[0].message.content == "one "
    assert stopped.choices[0].finish_reason == "stop"
    assert [choice.index for choice in many.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in many.choices}) == 3


async def test_logprobs_cover_the_text(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="m", messages=[USER], logprobs=True, top_logprobs=2
    )

    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    assert all(len(one.top_logprobs) == 2 for one in choice.logprobs.content)


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ("simulated-atlas", "reasoning_content"),
        ("simulated-birch", "reasoning"),
        ("simulated-cedar", None),
    ],
)
async def test_reasoning_is_counted_and_shown_as_the_provider_does(
    simulator: Simulator, provider: str, field: str | None
) -> None:
    path = f"/{provider}/v1/chat/completions"

    body = (await ask(simulator, "smart", path=path)).json()
    stream = await ask(simulator, "smart", path=path, stream=True)

    tokens = body["usage"]["completion_tokens_details"]["reasoning_tokens"]
    message = body["choices"][0]["message"]
    assert 0 < tokens < body["usage"]["completion_tokens"]
    shown = {"reasoning_content", "reasoning"} & set(message)
    assert shown == ({field} if field else set())
    if field:
        assert tokens == -(-len(message[field].encode()) // 4)
        deltas = [event["choices"][0]["delta"] for event in stream.events()[:-1]]
        assert "".join(delta.get(field, "") for delta in deltas) == message[field]


async def test_reasoning_may_come_in_tags_and_use_the_budget_up(simulator: Simulator) -> None:
    tagged = await ask(simulator, "o3!reasoning=think")
    cut = await ask(simulator, "o3", max_completion_tokens=4)

    assert tagged.json()["choices"][0]["message"]["content"].startswith("<think>")
    choice = cut.json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")


async def test_a_long_prefix_is_cached_when_it_comes_again(simulator: Simulator) -> None:
    system = {"role": "system", "content": "road " * 2000}

    async def cached(provider: str, question: str) -> int:
        messages = [system, {"role": "user", "content": question}]
        reply = await ask(
            simulator, "fast", path=f"/{provider}/v1/chat/completions", messages=messages
        )
        return reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    first = await cached("simulated-atlas", "one")
    again = await cached("simulated-atlas", "two")
    elsewhere = await cached("simulated-birch", "two")

    assert (first, elsewhere) == (0, 0)
    assert 2048 <= again < 2600
    assert again % 128 == 0


async def test_embeddings_are_unit_vectors(client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="embed", input=["a", "b"], dimensions=8)

    vectors = [row.embedding for row in answer.data]
    assert [len(vector) for vector in vectors] == [8, 8]
    assert vectors[0] != vectors[1]
    assert sum(value * value for value in vectors[0]) == pytest.approx(1, abs=1e-4)


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    served = {model.id for provider in MANIFEST for model in provider.models}

    assert {model.id async for model in client.models.list()} == served


async def test_error_classes_of_the_client_fit(client: openai.AsyncOpenAI) -> None:
    for fault, error in (
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("422", openai.UnprocessableEntityError),
        ("429", openai.RateLimitError),
        ("503", openai.InternalServerError),
        ("reset", openai.APIConnectionError),
    ):
        with pytest.raises(error):
            await client.chat.completions.create(model=f"m!{fault}", messages=[USER])

    stream = await client.chat.completions.create(
        model="m!error200@2", messages=[USER], stream=True
    )
    with pytest.raises(openai.APIError):
        _ = [chunk async for chunk in stream]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        pytest.param({"messages": None}, "missing_required_parameter", "messages", id="none"),
        pytest.param({"messages": []}, "empty_array", "messages", id="empty"),
        pytest.param({"messages": "hi"}, "invalid_type", "messages", id="messages-type"),
        pytest.param({"temperature": "hot"}, "invalid_type", "temperature", id="type"),
        pytest.param({"temperature": 3}, "integer_above_maximum_value", "temperature", id="range"),
        pytest.param({"n": True}, "invalid_type", "n", id="bool-is-no-count"),
        pytest.param(
            {"max_tokens": 0}, "integer_below_minimum_value", "max_tokens", id="no-tokens"
        ),
        pytest.param(
            {"max_tokens": 5, "max_completion_tokens": 5},
            "invalid_parameter_combination",
            "max_tokens",
            id="both-limits",
        ),
        pytest.param({"stop": list("abcde")}, "array_above_max_length", "stop", id="stops"),
        pytest.param({"stream_options": {}}, None, "stream_options", id="stream-options"),
        pytest.param({"top_logprobs": 2}, None, "top_logprobs", id="top-logprobs"),
        pytest.param({"tool_choice": "auto"}, None, "tool_choice", id="choice-without-tools"),
        pytest.param({"provider": {}}, "unknown_parameter", "provider", id="leaked-preference"),
        pytest.param({"models": ["a"]}, "unknown_parameter", "models", id="leaked-models"),
        pytest.param(
            {"messages": [{"role": "sage", "content": "x"}]},
            "invalid_value",
            "messages[0].role",
            id="role",
        ),
        pytest.param(
            {"messages": [USER, CALLING]}, None, "messages[1].role", id="unanswered-at-the-end"
        ),
        pytest.param(
            {"messages": [USER, CALLING, USER]}, None, "messages[2].role", id="unanswered"
        ),
        pytest.param({"messages": [USER, RESULT]}, None, "messages[1].role", id="stray-result"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            "invalid_value",
            "messages[0].content[0].type",
            id="part",
        ),
        pytest.param(
            {"response_format": {"type": "xml"}}, "invalid_value", "response_format.type", id="xml"
        ),
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "invalid_value",
            "tools[0].function.name",
            id="tool-name",
        ),
        pytest.param(
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "a", "parameters": {"type": "strange"}},
                    }
                ]
            },
            "invalid_function_parameters",
            "tools",
            id="tool-schema",
        ),
    ],
)
async def test_what_openai_refuses_is_refused(
    simulator: Simulator, change: dict[str, Any], code: str | None, param: str
) -> None:
    fields: dict[str, Any] = {"messages": QUESTION, **change}

    reply = await ask(simulator, "gpt-4o-mini", **fields)

    assert reply.status == 400
    error = reply.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


@pytest.mark.parametrize(
    "change", [{"max_tokens": 5}, {"temperature": 0.5}, {"stop": "x"}, {"logprobs": True}]
)
async def test_openais_reasoning_models_take_fewer_parameters(
    simulator: Simulator, change: dict[str, Any]
) -> None:
    strict = await ask(simulator, "gpt-5-mini", **change)
    lenient = await ask(simulator, "gpt-4o-mini", **change)

    assert (strict.status, lenient.status) == (400, 200)


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"model": NaN}', b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_refused(simulator: Simulator, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(request_bytes(raw))
    reply = await read_reply(reader)
    writer.close()
    await writer.wait_closed()

    assert reply.status == 400


async def test_named_providers_serve_what_the_manifest_says(simulator: Simulator) -> None:
    atlas = "/simulated-atlas/v1/chat/completions"
    long = [{"role": "user", "content": "x" * 4 * 128_001}]
    image = [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}],
        }
    ]

    unknown = await ask(simulator, "gpt-4o", path=atlas)
    nowhere = await ask(simulator, "fast", path="/simulated-elm/v1/chat/completions")
    too_long = await ask(simulator, "fast", path=atlas, messages=long)
    too_much = await ask(simulator, "fast", path=atlas, max_tokens=20_000)
    blind = await ask(simulator, "fast", path=atlas, messages=image)
    seeing = await ask(
        simulator, "vision", path="/simulated-birch/v1/chat/completions", messages=image
    )

    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert nowhere.status == 404
    assert too_long.json()["error"]["code"] == "context_length_exceeded"
    assert too_much.json()["error"]["message"].startswith("max_tokens is too large: 20000")
    assert (blind.status, seeing.status) == (400, 200)


async def test_a_demanded_key_is_checked() -> None:
    async with Simulator(speed=0, api_key="sk-right") as simulator:
        none = await ask(simulator, "m")
        wrong = await ask(simulator, "m", headers={"authorization": "Bearer sk-wrong-and-long"})
        right = await ask(simulator, "m", headers={"authorization": "Bearer sk-right"})
        bench = await ask(simulator, "bench")

    assert [none.status, wrong.status, right.status, bench.status] == [401, 401, 200, 401]
    assert none.json()["error"]["message"].startswith("You didn't provide an API key")
    assert wrong.json()["error"]["code"] == "invalid_api_key"
