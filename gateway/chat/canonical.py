"""Brings the members of a checked request into one form, so that every adapter reads the same."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway.chat.dialects import Dialect
from gateway.chat.fields import BY_NAME
from gateway.chat.legacy_functions import to_tool_messages, to_tools
from gateway.chat.view import View

Members = dict[str, Raw]

_ENCODER = msgspec.json.Encoder()
_ITEMS = msgspec.json.Decoder(list[Raw])
_EMPTY = Raw(b"[]")
_TOOL_MEMBERS = ("tools", "functions", "tool_choice", "function_call", "parallel_tool_calls")
_LONGEST_QUOTED = 64
_MOST_QUOTED = 8


def to_canonical(
    view: View,
    sent: Mapping[str, Raw],
    dialect: Dialect,
    labels: Mapping[str, str],
    warnings: list[str],
) -> Members:
    """The members to carry; those that need no change are the client's own bytes.

    Args:
        view: the same request, typed.
        sent: its members, none of them null.
        dialect: the FastAPI one leaves out what it does not know.
        labels: ``metadata`` as texts.
        warnings: receives what is left out.
    """
    carried = _known(sent, dialect, warnings)
    if view.functions is not None or view.function_call is not None:
        carried = to_tools(carried)
    if any(message.role == "function" or message.function_call for message in view.messages):
        carried["messages"] = to_tool_messages(carried["messages"])
    if view.tools and any(tool.type == "web_search" for tool in view.tools):
        _take_searches_out(view, carried)
    if isinstance(view.stop, list):
        _set_stops(view.stop, carried)
    if view.metadata is not None:
        carried["metadata"] = _encode(labels)
    if isinstance(view.top_logprobs, float):
        carried["top_logprobs"] = Raw(b"%d" % view.top_logprobs)
    if carried.get("tools", _EMPTY) == _EMPTY or (not view.tools and not view.functions):
        # Empty lists mean nothing, and many providers refuse them.
        for name in _TOOL_MEMBERS:
            carried.pop(name, None)
    return carried


def _known(sent: Mapping[str, Raw], dialect: Dialect, warnings: list[str]) -> Members:
    if dialect is not Dialect.FASTAPI:
        return dict(sent)
    unknown = [name for name in sent if name not in BY_NAME]
    if unknown:
        quoted = ", ".join(f"`{name[:_LONGEST_QUOTED]}`" for name in unknown[:_MOST_QUOTED])
        warnings.append(f"unknown members were left out: {quoted}")
    return {name: raw for name, raw in sent.items() if name in BY_NAME}


def _take_searches_out(view: View, carried: Members) -> None:
    """Searches among the tools are conveyed in each provider's own way."""
    tools = view.tools or []
    items = _ITEMS.decode(carried["tools"])
    kept = [item for item, tool in zip(items, tools, strict=True) if tool.type != "web_search"]
    carried["tools"] = _encode(kept)
    choice = view.tool_choice
    if choice is not None and not isinstance(choice, str) and choice.type == "web_search":
        del carried["tool_choice"]


def _set_stops(stops: list[str], carried: Members) -> None:
    unique = list(dict.fromkeys(stops))
    if not unique:
        del carried["stop"]
    elif len(unique) != len(stops):
        carried["stop"] = _encode(unique)


def _encode(value: object) -> Raw:
    return Raw(_ENCODER.encode(value))
