"""The strict simulator and the published model of the service as judges of what the adapter sends.

Neither shares anything with the adapter: the simulator has rules of its own, and botocore brings
the service's own description of every member.
"""

import base64
import functools
import json
from typing import Any

import botocore.session  # pyright: ignore[reportMissingTypeStubs] -- it has none
from botocore.validate import ParamValidator  # pyright: ignore[reportMissingTypeStubs]

from gateway.chat.request import ChatRequest
from gateway.providers.base import Quirks, Target, UpstreamRequest
from gateway.providers.bedrock import BedrockAdapter
from gateway.simulator.answers import PromptCache
from gateway.simulator.bedrock import BEDROCK
from gateway.simulator.script import GOOD, Behaviour
from gateway.simulator.wire import Answer, Call
from pricing.endpoint import Endpoint, Thinking

ADAPTER = BedrockAdapter(user_agent="tollway-test")
SECRET = "bedrock-api-key-0123456789abcdef"
_TOOLS = {"tools": True, "tool_choice": True}
_BUDGET = Thinking(style="budget", min_tokens=1024, can_be_off=True)
_ADAPTIVE = Thinking(style="adaptive", efforts=("low", "medium", "high", "max"))
_EFFORT = Thinking(style="effort", efforts=("low", "medium", "high"), can_be_off=False)


def make_endpoint(
    provider_model: str,
    *,
    model: str = "acme/one",
    capabilities: dict[str, bool] | None = None,
    thinking: Thinking | None = None,
    max_output_tokens: int | None = 64_000,
) -> Endpoint:
    return Endpoint(
        id=f"amazon-bedrock/{provider_model}",
        provider="amazon-bedrock",
        provider_model=provider_model,
        model=model,
        max_output_tokens=max_output_tokens,
        capabilities=_TOOLS if capabilities is None else capabilities,
        thinking=thinking,
    )


SONNET = make_endpoint(
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    model="anthropic/claude-sonnet-4.5",
    capabilities=_TOOLS
    | {
        "prompt_caching": True,
        "text_format": True,
        "assistant_prefill": True,
        "temperature_with_top_p": False,
    },
    thinking=_BUDGET,
)
OPUS = make_endpoint(
    "anthropic.claude-opus-5",
    model="anthropic/claude-opus-5",
    capabilities=_TOOLS
    | {"prompt_caching": True, "temperature": False, "assistant_prefill": False},
    thinking=_ADAPTIVE,
)
NOVA = make_endpoint(
    "amazon.nova-2-lite-v1:0",
    model="amazon/nova-2-lite",
    capabilities=_TOOLS | {"prompt_caching": True, "reasoning": True},
    max_output_tokens=65_535,
)
LLAMA = make_endpoint(
    "meta.llama4-scout-17b-instruct-v1:0",
    model="meta-llama/llama-4-scout",
    capabilities={"tools": True, "tool_choice": False, "reasoning": False},
)
GPT_OSS = make_endpoint(
    "openai.gpt-oss-120b-1:0",
    model="openai/gpt-oss-120b",
    capabilities={"tools": True, "tool_choice": False, "reasoning": True},
    thinking=_EFFORT,
)
ENDPOINTS = (SONNET, OPUS, NOVA, LLAMA, GPT_OSS)


def target_of(endpoint: Endpoint) -> Target:
    return Target(
        endpoint=endpoint,
        base_url="https://bedrock-runtime.us-east-1.amazonaws.com",
        quirks=Quirks(),
    )


def build(request: ChatRequest, endpoint: Endpoint) -> tuple[UpstreamRequest, dict[str, Any]]:
    """What is sent, and its body decoded."""
    sent = ADAPTER.build_request(request, target_of(endpoint), SECRET)
    return sent, json.loads(sent.body)


def ask(
    body: dict[str, Any], endpoint: Endpoint, behaviour: Behaviour = GOOD, *, stream: bool = False
) -> Answer:
    """The simulator's answer; raises `RefusedError` when it says no."""
    return BEDROCK.answer(
        Call(
            route="converse",
            target="",
            headers={},
            body=body,
            raw=b"",
            model=endpoint.provider_model,
            asked_model=endpoint.provider_model,
            is_stream=stream,
            provider=None,
            offer=None,
            behaviour=behaviour,
            cache=PromptCache(),
            number=1,
            created=0,
        )
    )


def stream_bytes(answer: Answer) -> bytes:
    """The stream of an answer as it goes over the wire."""
    assert answer.frames is not None
    return b"".join(BEDROCK.stream.encode(frame, frozenset()) for frame in answer.frames)


@functools.cache
def _model_of_the_service() -> Any:
    make: Any = botocore.session.Session
    session: Any = make()
    return session.get_service_model("bedrock-runtime")


def published_complaints(body: dict[str, Any], model: str) -> str:
    """What the published model of Converse has against a body; empty when nothing."""
    shape = _model_of_the_service().operation_model("Converse").input_shape
    validator: Any = ParamValidator()
    return validator.validate(_with_bytes(body) | {"modelId": model}, shape).generate_report()


def _with_bytes(value: Any) -> Any:
    """The body as botocore takes it: blobs are bytes there, and base64 on the wire."""
    if isinstance(value, list):
        return [_with_bytes(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(one)
        if name in {"bytes", "redactedContent"} and isinstance(one, str)
        else _with_bytes(one)
        for name, one in value.items()  # pyright: ignore[reportUnknownVariableType]
    }
