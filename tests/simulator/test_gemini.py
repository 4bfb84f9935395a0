"""The simulated Gemini speaks the wire of the real one, and is as strict."""

import asyncio
import base64
import json
from typing import Any

import pytest

from gateway.simulator.gemini_speech import PNG
from gateway.simulator.server import Simulator
from tests.simulator.caller import Reply, read_reply, request_bytes

pytestmark = pytest.mark.anyio

QUESTION: Any = {"role": "user", "parts": [{"text": "How far is the bridge?"}]}
MEASURE: Any = {
    "name": "measure",
    "parameters": {
        "type": "OBJECT",
        "properties": {"place": {"type": "STRING"}},
        "required": ["place"],
    },
}
EMPTY: dict[str, Any] = {}
CALLED: Any = {"functionCall": {"name": "measure", "args": {"place": "here"}}}
ANSWERED: Any = {"functionResponse": {"name": "measure", "response": {"output": "42"}}}
SIGNED: Any = base64.b64encode(b"skip_thought_signature_validator").decode()


async def post(
    simulator: Simulator,
    model: str = "gemini-2.5-flash",
    *,
    method: str = "generateContent",
    headers: dict[str, str] | None = None,
    base: str = "/gemini/v1beta",
    **body: Any,
) -> Reply:
    """One request; the question is asked unless `contents` are given."""
    body.setdefault("contents", [QUESTION])
    path = f"{base}/models/{model}:{method}"
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    given = {"x-goog-api-key": "key"} if headers is None else headers
    writer.write(request_bytes(body, path=path, headers=given))
    try:
        return await read_reply(reader)
    finally:
        writer.close()


def message(reply: Reply) -> str:
    assert reply.status == 400, reply.body
    error = reply.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    return error["message"]


async def test_an_answer_counts_thoughts_beside_the_candidates(simulator: Simulator) -> None:
    reply = await post(simulator)

    usage = reply.json()["usageMetadata"]
    assert usage["thoughtsTokenCount"] > 0
    assert usage["totalTokenCount"] == (
        usage["promptTokenCount"] + usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    )
    assert reply.json()["candidates"][0]["finishReason"] == "STOP"


async def test_a_stream_says_what_the_whole_says_and_has_no_end_marker(
    simulator: Simulator,
) -> None:
    whole = (await post(simulator)).json()

    reply = await post(simulator, method="streamGenerateContent?alt=sse")
    events = reply.events()

    assert "[DONE]" not in events
    texts = [
        part["text"]
        for event in events
        for part in event["candidates"][0].get("content", {}).get("parts", [])
    ]
    assert "".join(texts) == whole["candidates"][0]["content"]["parts"][0]["text"]
    counts = [event["usageMetadata"]["totalTokenCount"] for event in events]
    assert counts == sorted(counts)
    assert events[-1]["usageMetadata"] == whole["usageMetadata"]
    assert simulator.ledger[1].is_usage_sent


async def test_without_alt_sse_a_stream_is_an_array(simulator: Simulator) -> None:
    reply = await post(simulator, method="streamGenerateContent")

    assert reply.headers["content-type"] == "application/json"
    assert len(reply.json()) > 2


async def test_vertex_is_spoken_under_a_project_and_wants_a_bearer_token(
    simulator: Simulator,
) -> None:
    base = "/gemini/v1/projects/p/locations/global/publishers/google"

    with_key = await post(simulator, base=base)
    with_token = await post(simulator, base=base, headers={"authorization": "Bearer t"})

    assert with_key.status == 401
    assert with_token.status == 200
    assert with_token.json()["usageMetadata"]["trafficType"] == "ON_DEMAND"


async def test_a_key_in_neither_header_nor_query_is_refused(simulator: Simulator) -> None:
    without = await post(simulator, headers={})
    in_query = await post(simulator, method="generateContent?key=k", headers={})

    assert without.status == 403
    assert without.json()["error"]["status"] == "PERMISSION_DENIED"
    assert in_query.status == 200


async def test_a_wrong_key_is_a_400_with_its_reason() -> None:
    async with Simulator(speed=0, api_key="right") as simulator:
        reply = await post(simulator, headers={"x-goog-api-key": "wrong"})

    assert "API key not valid" in message(reply)
    assert reply.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"stream": True}, 'Unknown name "stream"', id="unknown-field"),
        pytest.param(
            {"generationConfig": {"max_tokens": 5}}, "Cannot find field", id="unknown-inside"
        ),
        pytest.param({"contents": list[Any]()}, "contents is not specified", id="no-contents"),
        pytest.param(
            {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]},
            "valid role",
            id="wrong-role",
        ),
        pytest.param(
            {"contents": [QUESTION, QUESTION]}, "alternate between user and model", id="same-role"
        ),
        pytest.param(
            {"contents": [{"role": "model", "parts": [{"text": "x"}]}]},
            "start with a user role",
            id="model-first",
        ),
        pytest.param(
            {"contents": [{"role": "user", "parts": [{"text": ""}]}]},
            "required oneof field 'data'",
            id="empty-text",
        ),
        pytest.param(
            {"contents": [{"role": "user", "parts": list[Any]()}]},
            "must not be empty",
            id="no-parts",
        ),
        pytest.param(
            {"contents": [QUESTION, {"role": "model", "parts": [CALLED]}, QUESTION]},
            "number of function response parts",
            id="unanswered-call",
        ),
        pytest.param(
            {"contents": [{"role": "user", "parts": [ANSWERED]}]},
            "immediately after a function call",
            id="orphan-response",
        ),
        pytest.param(
            {
                "contents": [
                    QUESTION,
                    {"role": "model", "parts": [CALLED]},
                    {
                        "role": "user",
                        "parts": [{"functionResponse": {"name": "other", "response": EMPTY}}],
                    },
                ]
            },
            "does not match",
            id="other-name",
        ),
        pytest.param({"generationConfig": {"seed": 2**31}}, "TYPE_INT32", id="seed-beyond-32-bits"),
        pytest.param(
            {"generationConfig": {"stopSequences": list("abcdef")}}, "at most 5", id="six-stops"
        ),
        pytest.param(
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 24_577}}},
            "The thinking budget (24577) is invalid",
            id="budget-too-large",
        ),
        pytest.param(
            {
                "generationConfig": {
                    "thinkingConfig": {"thinkingBudget": 100, "thinkingLevel": "low"}
                }
            },
            "only one of thinking budget and thinking level",
            id="budget-and-level",
        ),
        pytest.param(
            {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {"type": "object", "additionalProperties": False},
                }
            },
            'Unknown name "additionalProperties"',
            id="unsupported-schema-keyword",
        ),
        pytest.param(
            {"tools": [{"functionDeclarations": [{"name": "1st"}]}]},
            "Invalid function name",
            id="function-name",
        ),
        pytest.param(
            {"tools": [{"functionDeclarations": [MEASURE]}, {"googleSearch": EMPTY}]},
            "Tool use with function calling is unsupported",
            id="search-and-functions",
        ),
        pytest.param(
            {
                "tools": [{"functionDeclarations": [MEASURE]}],
                "generationConfig": {"responseMimeType": "application/json"},
            },
            "with a response mime type: 'application/json' is unsupported",
            id="json-and-functions",
        ),
    ],
)
async def test_what_google_refuses_is_refused(
    simulator: Simulator, body: dict[str, Any], said: str
) -> None:
    assert said in message(await post(simulator, **body))


async def test_a_call_of_the_current_turn_must_be_signed_from_gemini_3_on(
    simulator: Simulator,
) -> None:
    def conversation(call: dict[str, Any]) -> list[Any]:
        return [QUESTION, {"role": "model", "parts": [call]}, {"role": "user", "parts": [ANSWERED]}]

    unsigned = await post(simulator, "gemini-3.8-flash", contents=conversation(CALLED))
    dummy = CALLED | {"thoughtSignature": SIGNED}
    signed = await post(simulator, "gemini-3.8-flash", contents=conversation(dummy))
    foreign = CALLED | {"thoughtSignature": base64.b64encode(b"of another").decode()}
    corrupted = await post(simulator, "gemini-3.8-flash", contents=conversation(foreign))
    older = await post(simulator, "gemini-2.5-flash", contents=conversation(CALLED))

    assert "missing a thought_signature" in message(unsigned)
    assert signed.status == older.status == 200
    assert message(corrupted) == "Corrupted thought signature."


async def test_calls_carry_a_signature_on_the_first_and_ids_from_gemini_3_on(
    simulator: Simulator,
) -> None:
    tools = [{"functionDeclarations": [MEASURE]}]

    third = await post(simulator, "gemini-3.8-flash%21tool_calls=2", tools=tools)
    second = await post(simulator, "gemini-2.5-flash", tools=tools)

    first, other = third.json()["candidates"][0]["content"]["parts"]
    assert "thoughtSignature" in first
    assert "thoughtSignature" not in other
    assert first["functionCall"]["id"] != other["functionCall"]["id"]
    assert "id" not in second.json()["candidates"][0]["content"]["parts"][0]["functionCall"]


async def test_grounding_counts_places_in_bytes(simulator: Simulator) -> None:
    reply = await post(simulator, tools=[{"googleSearch": EMPTY}])

    candidate = reply.json()["candidates"][0]
    text = candidate["content"]["parts"][0]["text"].encode()
    for support in candidate["groundingMetadata"]["groundingSupports"]:
        segment = support["segment"]
        start = segment.get("startIndex", 0)
        assert text[start : segment["endIndex"]].decode() == segment["text"]


async def test_images_are_made_where_the_model_can(simulator: Simulator) -> None:
    wanted = {"responseModalities": ["TEXT", "IMAGE"]}

    made = await post(simulator, "gemini-2.5-flash-image", generationConfig=wanted)
    refused = await post(simulator, generationConfig=wanted)

    parts = made.json()["candidates"][0]["content"]["parts"]
    assert parts[-1]["inlineData"] == {"mimeType": "image/png", "data": PNG}
    assert refused.status == 400


async def test_a_blocked_prompt_has_no_candidates(simulator: Simulator) -> None:
    reply = await post(simulator, "gemini-2.5-flash%21finish=prompt:SAFETY")

    assert reply.json()["promptFeedback"] == {"blockReason": "SAFETY"}
    assert "candidates" not in reply.json()


async def test_a_rate_limit_says_how_long_to_wait_in_its_details(simulator: Simulator) -> None:
    reply = await post(simulator, "gemini-2.5-flash%21429")

    assert reply.status == 429
    details = {one["@type"].rpartition(".")[2]: one for one in reply.json()["error"]["details"]}
    assert details["RetryInfo"]["retryDelay"] == "7s"
    assert "PerMinute" in json.dumps(details["QuotaFailure"])
    assert "retry-after" not in reply.headers
