"""Our request -> the body of generateContent, for AI Studio or for Vertex AI."""

from typing import Any, Final

import msgspec

from gateway.chat.request import ChatRequest
from gateway.providers.base import Target
from gateway.providers.gemini_config import TAKEN, write_config
from gateway.providers.gemini_contents import write_contents
from gateway.providers.gemini_tools import write_tools
from gateway.providers.translation.options import left_out, warn_left_out
from gateway.providers.translation.reading import read_conversation
from gateway.providers.translation.tools import read_answer_form, read_tools

_ENCODER: Final = msgspec.json.Encoder()
_VERTEX: Final = "/publishers/"
_TIERS: Final = {"default": "standard", "flex": "flex", "priority": "priority"}
_SHARED: Final = "X-Vertex-AI-LLM-Request-Type"
_SHARED_TIER: Final = "X-Vertex-AI-LLM-Shared-Request-Type"


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A body with the headers that say what it cannot."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def is_on_vertex(target: Target) -> bool:
    """Whether the address is one of Vertex AI's, which differs from AI Studio's API in places."""
    return _VERTEX in target.base_url


def build_body(request: ChatRequest, target: Target) -> Built:
    """The body for one endpoint, and warnings about what was left out.

    Raises:
        FaultError: the conversation holds something that this endpoint cannot read.
    """
    is_vertex = is_on_vertex(target)
    warnings: list[str] = []
    conversation = read_conversation(request.body["messages"], warnings)
    functions = read_tools(request, warnings)
    form = read_answer_form(request)
    tools = write_tools(request, functions, target, is_vertex=is_vertex, warnings=warnings)
    config, instruction = write_config(request, tools, form, target, warnings)
    contents, system = write_contents(
        conversation,
        target,
        instruction,
        is_vertex=is_vertex,
        remembered=request.remembered_signatures,
    )
    body: dict[str, Any] = {"contents": contents}
    if system is not None:
        body["systemInstruction"] = system
    if tools.tools:
        body["tools"] = tools.tools
    if tools.config:
        body["toolConfig"] = tools.config
    if config:
        body["generationConfig"] = config
    headers = _choose_tier(body, request.service_tier, target, warnings, is_vertex=is_vertex)
    warn_left_out(request, TAKEN, target.endpoint.id, warnings)
    return Built(body=_ENCODER.encode(body), headers=headers, warnings=tuple(warnings))


def _choose_tier(
    body: dict[str, Any],
    tier: str | None,
    target: Target,
    warnings: list[str],
    *,
    is_vertex: bool,
) -> tuple[tuple[str, str], ...]:
    """AI Studio reads the tier in the body, Vertex AI in headers."""
    if tier is None or tier == "auto":
        return ()
    theirs = _TIERS.get(tier)
    if theirs is None:
        warnings.append(left_out("service_tier", target.endpoint.id))
    elif not is_vertex:
        body["serviceTier"] = theirs
    elif theirs != "standard":
        return ((_SHARED, "shared"), (_SHARED_TIER, theirs))
    return ()
