"""The strict simulator as a judge of what the Gemini adapter builds, without a socket."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.chat.request import ChatRequest
from gateway.providers.base import Completion, Quirks, StreamEvent, Target, UpstreamRequest
from gateway.providers.gemini import GeminiAdapter
from gateway.simulator.answers import PromptCache
from gateway.simulator.gemini import GEMINI
from gateway.simulator.script import parse_behaviour
from gateway.simulator.wire import Answer, Call
from pricing.catalogue import load_catalogue
from pricing.endpoint import Endpoint
from tests.providers.conversations import to_request

CATALOGUE = load_catalogue()
ADAPTER = GeminiAdapter()
STUDIO = "https://generativelanguage.googleapis.com/v1beta"
VERTEX = "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google"
MODELS = (
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-pro-preview",
    "gemini-3.5-flash",
    "gemini-3.8-flash",
)


def endpoint_of(model: str, **changes: Any) -> Endpoint:
    """An endpoint of Google's as the shipped tables have it."""
    return msgspec.structs.replace(CATALOGUE.endpoints_by_id[f"google/{model}"], **changes)


def target_of(model: str = "gemini-2.5-flash", *, base_url: str = STUDIO, **changes: Any) -> Target:
    return Target(endpoint=endpoint_of(model, **changes), base_url=base_url, quirks=Quirks())


def ask_for(**members: Any) -> ChatRequest:
    """A request with a question, unless it brings its own."""
    question = [{"role": "user", "content": "How far is the bridge?"}]
    return to_request({"model": "acme/one", "messages": question} | members)


def build(
    target: Target | None = None, request: ChatRequest | None = None, **members: Any
) -> tuple[dict[str, Any], UpstreamRequest]:
    """The body that is sent, decoded, and the request around it."""
    sent = ADAPTER.build_request(request or ask_for(**members), target or target_of(), "key")
    return json.loads(sent.body), sent


def judge(sent: UpstreamRequest, *, do: str = "") -> Answer:
    """What the strict service says. Raises `RefusedError` when it refuses."""
    path = sent.url.partition("/v1beta/")[2] or sent.url.partition("/v1/")[2]
    addressed = GEMINI.address(path)
    assert addressed is not None, path
    return GEMINI.answer(
        Call(
            route=addressed.route,
            target=path,
            headers={name.lower(): value for name, value in sent.headers},
            body=json.loads(sent.body),
            raw=sent.body,
            model=addressed.model,
            asked_model=addressed.model,
            is_stream=addressed.is_stream,
            provider=None,
            offer=None,
            behaviour=parse_behaviour(do),
            cache=PromptCache(),
            number=1,
            created=0,
        )
    )


def stream_bytes(answer: Answer) -> bytes:
    assert answer.frames is not None
    return b"".join(b"data: " + frame.data + b"\r\n\r\n" for frame in answer.frames)


def decode(target: Target, *pieces: bytes) -> list[StreamEvent]:
    decoder = ADAPTER.open_stream(target)
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()


def whole(target: Target, *, do: str = "", **members: Any) -> Completion:
    """An answer in one piece, through the strict service."""
    _, sent = build(target, **members)
    return ADAPTER.parse_response(200, {}, judge(sent, do=do).body, target)


def streamed(target: Target, *, do: str = "", **members: Any) -> list[StreamEvent]:
    """The same as a stream."""
    _, sent = build(target, stream=True, **members)
    return decode(target, stream_bytes(judge(sent, do=do)))


def message_of(completion: Completion) -> dict[str, Any]:
    return json.loads(completion.choices)[0]["message"]


def deltas(events: list[StreamEvent]) -> Iterator[dict[str, Any]]:
    for event in events:
        for choice in json.loads(event.choices):
            yield choice["delta"]


def put_together(events: list[StreamEvent]) -> dict[str, Any]:
    """The message that a client makes of a stream."""
    message: dict[str, Any] = {"content": "", "reasoning": "", "tool_calls": []}
    for delta in deltas(events):
        message["content"] += delta.get("content") or ""
        message["reasoning"] += delta.get("reasoning") or ""
        for name in ("reasoning_details", "annotations", "images"):
            if name in delta:
                message.setdefault(name, []).extend(delta[name])
        for call in delta.get("tool_calls", []):
            assert call["index"] == len(message["tool_calls"])
            message["tool_calls"].append({name: call[name] for name in ("id", "type", "function")})
    return message


def answer_of(*parts: dict[str, Any], finish: str | None = "STOP", **members: Any) -> bytes:
    """A body with one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    candidate |= {"finishReason": finish} if finish else {}
    candidate |= members.pop("candidate", {})
    return json.dumps({"candidates": [candidate], "responseId": "r1"} | members).encode()


def as_events(*bodies: bytes) -> bytes:
    return b"".join(b"data: " + body + b"\n\n" for body in bodies)
