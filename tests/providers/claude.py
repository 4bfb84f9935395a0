"""What the tests of Anthropic's protocol share: endpoints as shipped, and a strict judge."""

import json
from typing import Any

from gateway.chat.request import ChatRequest
from gateway.providers.anthropic import AnthropicAdapter
from gateway.providers.base import Quirks, Target, UpstreamRequest
from gateway.simulator.answers import PromptCache
from gateway.simulator.anthropic import ANTHROPIC
from gateway.simulator.script import parse_behaviour
from gateway.simulator.wire import Answer, Call
from pricing.catalogue import load_catalogue
from tests.providers.conversations import to_request

CATALOGUE = load_catalogue()
ADAPTER = AnthropicAdapter(user_agent="tests")
GENERATIONS = (
    "claude-3-haiku",
    "claude-3-7-sonnet-latest",
    "claude-opus-4-1",
    "claude-sonnet-4-5",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "claude-sonnet-5",
)
"""One model of each way to think, to sample, and to take schemas."""


def target_of(model: str = "claude-sonnet-4-5") -> Target:
    endpoint = CATALOGUE.endpoints_by_id[f"anthropic/{model}"]
    return Target(endpoint=endpoint, base_url="http://127.0.0.1:9/v1", quirks=Quirks())


def build(body: dict[str, Any], model: str = "claude-sonnet-4-5") -> UpstreamRequest:
    return ADAPTER.build_request(as_request(body), target_of(model), "sk-ant-key")


def sent(model: str = "claude-sonnet-4-5", **members: Any) -> dict[str, Any]:
    """The body that goes over the wire."""
    return json.loads(build(ask(**members), model).body)


def warned(model: str = "claude-sonnet-4-5", **members: Any) -> str:
    return " | ".join(build(ask(**members), model).warnings)


def ask(**members: Any) -> dict[str, Any]:
    return {
        "model": "acme/one",
        "messages": [{"role": "user", "content": "Where does the toll road lead?"}],
    } | members


def as_request(body: dict[str, Any]) -> ChatRequest:
    return to_request(body)


def judge(request: UpstreamRequest, do: tuple[str, ...] = ()) -> Answer:
    """What the strict simulator answers. Raises `RefusedError` with Anthropic's words."""
    body: dict[str, Any] = json.loads(request.body)
    return ANTHROPIC.answer(
        Call(
            route="messages",
            target="/v1/messages",
            headers={name.lower(): value for name, value in request.headers},
            body=body,
            raw=request.body,
            model=body["model"],
            asked_model=body["model"],
            is_stream=body.get("stream") is True,
            provider=None,
            offer=None,
            behaviour=parse_behaviour(",".join(do)),
            cache=PromptCache(),
            number=1,
            created=1,
        )
    )


def wire_of(answer: Answer) -> bytes:
    """The bytes of a streamed answer."""
    return b"".join(ANTHROPIC.stream.encode(frame, frozenset()) for frame in answer.frames or ())
