"""The simulated Bedrock speaks the wire of the real one, and is as strict."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from botocore.eventstream import EventStreamBuffer  # pyright: ignore[reportMissingTypeStubs] -- it has none

from gateway.simulator.bedrock_models import sign_reasoning
from gateway.simulator.script import ENDINGS
from gateway.simulator.server import Simulator
from tests.simulator.caller import Reply, read_reply, request_bytes

pytestmark = pytest.mark.anyio

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
BEARER = {"authorization": "Bearer bedrock-api-key"}
Blocks = list[dict[str, Any]]


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str = "How far is the bridge?") -> dict[str, Any]:
    return {"text": words}


def call(id_: str = "t1", name: str = "measure") -> dict[str, Any]:
    return {"toolUse": {"toolUseId": id_, "name": name, "input": {"place": "here"}}}


def result(id_: str = "t1") -> dict[str, Any]:
    return {"toolResult": {"toolUseId": id_, "content": [{"text": "42"}]}}


def tools(**choice: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"place": {"type": "string"}}}
    spec = {"name": "measure", "inputSchema": {"json": schema}}
    return {"tools": [{"toolSpec": spec}]} | ({"toolChoice": choice} if choice else {})


def document(name: str) -> dict[str, Any]:
    source = {"bytes": base64.b64encode(b"%PDF-1.4").decode()}
    return {"document": {"format": "pdf", "name": name, "source": source}}


def point(**more: str) -> dict[str, Any]:
    return {"cachePoint": {"type": "default"} | more}


async def post(
    simulator: Simulator,
    model: str = CLAUDE,
    *,
    operation: str = "converse",
    headers: dict[str, str] | None = None,
    **body: Any,
) -> Reply:
    """One request; a question is asked unless `messages` are given."""
    body.setdefault("messages", [user(text())])
    path = f"/bedrock/model/{quote(model, safe='')}/{operation}"
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(request_bytes(body, path=path, headers=BEARER if headers is None else headers))
    try:
        return await read_reply(reader)
    finally:
        writer.close()


def events(reply: Reply) -> list[tuple[str, Any]]:
    """The messages of a stream, as AWS's own library reads them: names and payloads."""
    buffer: Any = EventStreamBuffer()
    buffer.add_data(reply.body)
    return [
        (
            message.headers.get(":event-type") or message.headers[":exception-type"],
            json.loads(message.payload),
        )
        for message in buffer
    ]


async def test_an_answer_has_every_member_of_the_published_one(simulator: Simulator) -> None:
    reply = await post(simulator)

    body = reply.json()
    assert reply.status == 200
    assert set(body) == {"output", "stopReason", "usage", "metrics"}
    assert body["stopReason"] == "end_turn"
    usage = body["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert simulator.ledger[0].completion_tokens == usage["outputTokens"]
    assert simulator.ledger[0].model == CLAUDE


async def test_a_stream_says_what_the_whole_says(simulator: Simulator) -> None:
    whole = (await post(simulator)).json()

    reply = await post(simulator, operation="converse-stream")

    found = events(reply)
    kinds = [kind for kind, _ in found]
    assert reply.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert kinds[0] == "messageStart"
    assert kinds[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    said = "".join(data["delta"]["text"] for kind, data in found if kind == "contentBlockDelta")
    assert said == whole["output"]["message"]["content"][0]["text"]
    assert found[-1][1]["usage"] == whole["usage"]
    assert simulator.ledger[1].is_stream
    assert simulator.ledger[1].is_usage_sent


async def test_tools_are_called_in_the_form_of_the_wire(simulator: Simulator) -> None:
    whole = (await post(simulator, f"{CLAUDE}!tool_calls=2", toolConfig=tools())).json()
    reply = await post(
        simulator, f"{CLAUDE}!tool_calls=2", operation="converse-stream", toolConfig=tools()
    )

    calls = [block["toolUse"] for block in whole["output"]["message"]["content"]]
    assert whole["stopReason"] == "tool_use"
    starts = [data for kind, data in events(reply) if kind == "contentBlockStart"]
    assert [one["start"]["toolUse"]["toolUseId"] for one in starts] == [
        one["toolUseId"] for one in calls
    ]
    assert [one["contentBlockIndex"] for one in starts] == [0, 1]


async def test_what_is_written_to_the_cache_is_read_from_it(simulator: Simulator) -> None:
    messages = [user(text("toll " * 2000), point(ttl="1h"))]

    first = (await post(simulator, messages=messages)).json()["usage"]
    second = (await post(simulator, messages=messages)).json()["usage"]

    assert first["cacheWriteInputTokens"] > 2000
    assert first["cacheDetails"] == [{"ttl": "1h", "inputTokens": first["cacheWriteInputTokens"]}]
    assert second["cacheReadInputTokens"] > 2000
    assert second["totalTokens"] == sum(
        second[f"{name}Tokens"] for name in ("input", "output", "cacheReadInput", "cacheWriteInput")
    )


REFUSED: list[Any] = [
    pytest.param({"messages": []}, "length", id="no-messages"),
    pytest.param({"messages": [assistant(text())]}, "start with a user", id="begins-wrongly"),
    pytest.param({"messages": [user(text()), user(text())]}, "alternate", id="same-role"),
    pytest.param({"messages": [user(text(" "))]}, "is blank", id="blank"),
    pytest.param({"messages": [user()]}, "length", id="empty-content"),
    pytest.param({"messages": [user({"text": "a", "image": {}})]}, "Exactly one", id="union"),
    pytest.param({"colour": "red"}, "extraneous key [colour]", id="unknown"),
    pytest.param({"inferenceConfig": {"temperature": 1.5}}, "less than or equal", id="hot"),
    pytest.param({"inferenceConfig": {"maxTokens": 0}}, "greater than or equal", id="nothing"),
    pytest.param({"serviceTier": {"type": "scale"}}, "enum value set", id="tier"),
    pytest.param(
        {"messages": [user(text()), assistant(call()), user(result())]},
        "toolConfig field must be defined",
        id="no-tool-config",
    ),
    pytest.param(
        {"messages": [user(text()), assistant(call()), user(text())], "toolConfig": tools()},
        "Expected toolResult blocks",
        id="unanswered",
    ),
    pytest.param(
        {
            "messages": [user(text()), assistant(call()), user(result(), result("t2"))],
            "toolConfig": tools(),
        },
        "exceeds the number of toolUse",
        id="too-many-results",
    ),
    pytest.param(
        {
            "messages": [user(text()), assistant(call()), user(text(), result())],
            "toolConfig": tools(),
        },
        "must begin with a matching number",
        id="text-before-results",
    ),
    pytest.param({"toolConfig": tools(none={})}, "Unknown member none", id="choice-none"),
    pytest.param({"toolConfig": {"tools": []}}, "length", id="no-tools"),
    pytest.param(
        {"messages": [user(text(), document("a_b.pdf"))]}, "regular expression", id="document-name"
    ),
    pytest.param(
        {"messages": [user(text(), document("a"), document("a"))]}, "Duplicate", id="same-names"
    ),
    pytest.param({"messages": [user(document("a"))]}, "text block", id="document-alone"),
    pytest.param(
        {"messages": [user(*(block for _ in range(5) for block in (text(), point())))]},
        "maximum of 4",
        id="five-cache-points",
    ),
    pytest.param(
        {"messages": [user(text(), point(), text(), point(ttl="1h"))]},
        "must not come after",
        id="long-after-short",
    ),
    pytest.param(
        {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 9}}},
        "greater than or equal to 1024",
        id="small-budget",
    ),
    pytest.param(
        {
            "additionalModelRequestFields": {
                "thinking": {"type": "enabled", "budget_tokens": 2000}
            },
            "inferenceConfig": {"temperature": 0.5},
        },
        "only be set to 1",
        id="thinking-temperature",
    ),
    pytest.param(
        {
            "additionalModelRequestFields": {
                "thinking": {"type": "enabled", "budget_tokens": 2000}
            },
            "toolConfig": tools(any={}),
        },
        "forces tool use",
        id="thinking-forced",
    ),
    pytest.param(
        {"additionalModelRequestFields": {"colour": 1}}, "extraneous key [colour]", id="own-field"
    ),
    pytest.param(
        {
            "messages": [
                user(text()),
                assistant(
                    {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "bad"}}}
                ),
                user(text()),
            ]
        },
        "Invalid `signature`",
        id="foreign-signature",
    ),
]


@pytest.mark.parametrize(("body", "words"), REFUSED)
async def test_what_the_service_refuses_is_refused(
    simulator: Simulator, body: dict[str, Any], words: str
) -> None:
    reply = await post(simulator, **body)

    assert reply.status == 400, reply.body
    assert reply.headers["x-amzn-errortype"].startswith("ValidationException:")
    assert words in reply.json()["message"]


async def test_reasoning_that_it_signed_is_taken_back(simulator: Simulator) -> None:
    said = {"text": "Hm.", "signature": sign_reasoning("Hm.")}
    messages = [
        user(text()),
        assistant({"reasoningContent": {"reasoningText": said}}),
        user(text()),
    ]

    assert (await post(simulator, messages=messages)).status == 200


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"authorization": "Basic abc"}, "IncompleteSignatureException"),
        ({"authorization": "Bearer "}, "AccessDeniedException"),
    ],
)
async def test_nobody_passes_without_a_credential(
    simulator: Simulator, headers: dict[str, str], name: str
) -> None:
    reply = await post(simulator, headers=headers)

    assert reply.status == 403
    assert reply.headers["x-amzn-errortype"].startswith(name)


async def test_a_key_that_is_demanded_must_be_presented() -> None:
    async with Simulator(speed=0, api_key="right") as simulator:
        wrong = await post(simulator)
        right = await post(simulator, headers={"authorization": "Bearer right"})

    assert (wrong.status, right.status) == (403, 200)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
async def test_faults_come_as_exceptions_of_the_service(
    simulator: Simulator, status: int, name: str
) -> None:
    reply = await post(simulator, f"{CLAUDE}!{status},retry_after=2")

    assert reply.status == status
    assert reply.headers["x-amzn-errortype"].startswith(f"{name}:")
    assert reply.headers["retry-after"] == "2"
    assert set(reply.json()) == {"message"}
    assert simulator.ledger[0].outcome == "refused"


async def test_an_exception_comes_inside_a_stream(simulator: Simulator) -> None:
    model = f"{CLAUDE}!error200@2,finish=throttlingException"

    reply = await post(simulator, model, operation="converse-stream")

    kinds = [kind for kind, _ in events(reply)]
    assert kinds.count("contentBlockDelta") == 2
    assert kinds[-1] == "throttlingException"
    assert simulator.ledger[0].outcome == "faulted"


async def test_a_checksum_can_be_wrong(simulator: Simulator) -> None:
    reply = await post(simulator, f"{CLAUDE}!bad_checksum@1", operation="converse-stream")

    with pytest.raises(Exception, match="Checksum mismatch"):
        events(reply)


@pytest.mark.parametrize(
    "ending",
    sorted(set(ENDINGS) - {"hang", "hang_headers", "hang_mid", "comments_only", "endless"}),
)
async def test_every_fault_that_ends_is_done_to_this_protocol_too(
    simulator: Simulator, ending: str
) -> None:
    model = f"{CLAUDE}!{ending},megabytes=1,interval_ms=0,tokens=8"

    reply = await post(simulator, model, operation="converse-stream")

    assert reply.ended != "open"
    assert simulator.ledger[0].behaviour.partition("@")[0] == ending
    assert simulator.ledger[0].outcome != "open"


async def test_its_address_stands_among_the_stand_ins(simulator: Simulator) -> None:
    assert simulator.stand_ins["bedrock"] == f"{simulator.base_url}/bedrock"
    assert simulator.stand_ins["openai"] == f"{simulator.base_url}/v1"
