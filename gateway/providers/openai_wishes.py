"""Reasoning, web search and choices among tools, in the words that one endpoint understands."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway.chat.reasoning import Reasoning
from gateway.chat.request import ChatRequest
from gateway.chat.web_search import WebSearch
from gateway.providers.base import Target
from gateway.providers.translation.thinking import effort_for, warn_of_effort

Body = dict[str, Raw]

_ENCODER: Final = msgspec.json.Encoder()
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_OBJECTS: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_ITEMS: Final = msgspec.json.Decoder(list[Raw])
_NULL: Final = Raw(b"null")
_TRUE: Final = Raw(b"true")
_EFFORTS_OF_BUDGET: Final = ((1024, "low"), (8192, "medium"))
_NATIVE_SEARCH: Final = Raw(b'[{"id":"web","engine":"native"}]')


def add_reasoning(body: Body, request: ChatRequest, target: Target, warnings: list[str]) -> None:
    """Say how much to think, as an effort or as OpenRouter's object."""
    wish = request.reasoning
    if wish is None:
        return
    endpoint, quirks = target.endpoint, target.quirks
    refused = quirks.refused_parameters
    if endpoint.capabilities.get("reasoning") is False or "reasoning" in refused:
        if not wish.is_off and (wish.effort is not None or wish.max_tokens is not None):
            field = "reasoning_effort" if "reasoning_effort" in request.body else "reasoning"
            warnings.append(f"`{field}` is not supported by {endpoint.id} and was left out")
        return
    if quirks.accepts_reasoning_object:
        body["reasoning"] = _as_object(wish)
        return
    if wish.summary is not None:
        warnings.append(f"`reasoning.summary` is not supported by {endpoint.id} and was left out")
    effort = wish.effort if wish.max_tokens is None else _effort_of(wish.max_tokens)
    if effort is None or "reasoning_effort" in refused:
        return
    facts = endpoint.thinking
    if facts is not None and facts.efforts:
        effort = effort_for(Reasoning(effort=effort), facts.efforts)
        warn_of_effort(wish, effort, endpoint.id, warnings)
    body["reasoning_effort"] = Raw(_ENCODER.encode(effort))


def _effort_of(max_tokens: int) -> str:
    """The word nearest to a budget."""
    for tokens, effort in _EFFORTS_OF_BUDGET:
        if max_tokens <= tokens:
            return effort
    return "high"


def _as_object(wish: Reasoning) -> Raw:
    sent: dict[str, Any] = {"effort": wish.effort, "max_tokens": wish.max_tokens}
    sent |= {"summary": wish.summary, "exclude": wish.is_excluded or None}
    return Raw(_ENCODER.encode({name: value for name, value in sent.items() if value is not None}))


def add_web_search(body: Body, request: ChatRequest, target: Target, warnings: list[str]) -> None:
    """Ask for a search, where one is known to be there: searches cost money."""
    wish = request.web_search
    if wish is None:
        return
    endpoint, form = target.endpoint, target.quirks.web_search_form
    is_there = (
        endpoint.capabilities.get("web_search") is True
        and target.quirks.web_search_model_mark in endpoint.provider_model
    )
    if not is_there or form == "none":
        warnings.append(
            f"no web search by {endpoint.id}, which is not known to have one here "
            f"(asked for by `{wish.asked_by[0]}`)"
        )
        return
    if wish.max_uses is not None:
        warnings.append(f"`max_uses` of a web search is not supported by {endpoint.id}")
    if form == "switch":
        body["enable_search"] = _TRUE
    elif form == "plugin":
        body["plugins"] = _NATIVE_SEARCH
    if form == "options" or (form == "plugin" and (wish.context_size or wish.location)):
        body["web_search_options"] = _options(wish)


def _options(wish: WebSearch) -> Raw:
    sent: dict[str, Any] = {}
    if wish.context_size is not None:
        sent["search_context_size"] = wish.context_size
    if wish.location is not None:
        sent["user_location"] = {"type": "approximate", "approximate": wish.location}
    return Raw(_ENCODER.encode(sent))


def narrow_tools(body: Body) -> None:
    """``allowed_tools`` for services that do not know it: only those tools, and its mode."""
    choice = body.get("tool_choice", _NULL)
    if bytes(choice)[:1] != b"{" or "tools" not in body:
        return
    allowed = _MEMBERS.decode(choice).get("allowed_tools", _NULL)
    if allowed == _NULL:
        return
    members = _MEMBERS.decode(allowed)
    names = {_name_of(tool) for tool in _OBJECTS.decode(members["tools"])}
    items = _ITEMS.decode(body["tools"])
    kept = [item for item in items if _name_of(_MEMBERS.decode(item)) in names]
    body["tools"] = Raw(_ENCODER.encode(kept or items))
    body["tool_choice"] = members["mode"]


def _name_of(tool: Mapping[str, Raw]) -> bytes:
    """What a tool is called, whether its definition is nested or not."""
    for kind in ("function", "custom"):
        inner = tool.get(kind, _NULL)
        if bytes(inner)[:1] == b"{":
            return bytes(_MEMBERS.decode(inner).get("name", _NULL))
    return bytes(tool.get("name", tool.get("type", _NULL)))
