"""Bytes of a Messages request -> `ChatRequest`: the same routing, limits and accounts as chat."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, structs

from gateway.chat.complaints import malformed_json, wrong_value
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.messages_api.turns import render_messages, to_messages
from gateway.chat.messages_api.view import (
    ABSENT,
    COUNT_VIEW,
    READ,
    VIEW,
    Format,
    MessagesTool,
    MessagesToolChoice,
    MessagesView,
)
from gateway.chat.request import ChatRequest
from gateway.chat.structure import check_members_are_unique, check_size_of_structure
from gateway.domain.errors import InvalidRequestError

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()
_NULL = Raw(b"null")
_MOST_STOPS = 4
_NOT_OFFERED = frozenset({"mcp_servers", "container"})
_IGNORED = frozenset({"context_management", "betas", "inference_geo", "diagnostics"})
"""Members that tune Anthropic's own service; an answer without them is still the one asked for."""
_SEARCH = "web_search_"
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def decode_messages_request(body: bytes, *, headers: Mapping[str, str]) -> ChatRequest:
    """Read one request.

    Beside Anthropic's members, those of chat that concern routing are understood (``models``,
    ``provider``, ``session_id``, ``plugins`` …).

    Raises:
        InvalidRequestError: names the field and what it should be.
    """
    return _read(body, headers, VIEW)


def decode_count_request(body: bytes, *, headers: Mapping[str, str]) -> ChatRequest:
    """Read a request whose tokens are to be counted: nothing says how long an answer may be.

    Raises:
        InvalidRequestError: names the field and what it should be.
    """
    return _read(body, headers, COUNT_VIEW)


def _read(
    body: bytes,
    headers: Mapping[str, str],
    decoder: "msgspec.json.Decoder[Any]",
) -> ChatRequest:
    try:
        body.decode()
        check_size_of_structure(body)
        members = _MEMBERS.decode(body)
        check_members_are_unique(body, members)
        view: MessagesView = decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc) from exc
    except msgspec.DecodeError as exc:
        raise malformed_json(exc) from exc
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(
            f"The body is not valid UTF-8 at byte {exc.start}.", code="json_invalid"
        ) from exc
    except RecursionError as exc:
        raise InvalidRequestError(
            "The body is nested too deeply; flatten it.", code="too_complex"
        ) from exc
    warnings: list[str] = []
    chat = _carried(members, warnings)
    chat |= _to_chat(view, warnings)
    request = decode_chat_request(_ENCODER.encode(chat), dialect=Dialect.ANTHROPIC, headers=headers)
    # What a Messages client is told of usage is in every stream, whether it asks or not.
    return structs.replace(
        request, warnings=tuple(dict.fromkeys((*warnings, *request.warnings))), include_usage=False
    )


def _carried(members: Mapping[str, Raw], warnings: list[str]) -> dict[str, Any]:
    for name in _NOT_OFFERED:
        if members.get(name, _NULL) not in (_NULL, Raw(b"[]"), Raw(b"{}")):
            raise InvalidRequestError(
                f"`{name}` is not offered here; leave it out, and run such tools yourself.",
                param=name,
                code="not_supported",
            )
    ignored = [name for name in members if name in _IGNORED]
    if ignored:
        warnings.append(", ".join(f"`{name}`" for name in ignored) + " had no effect")
    left = READ | _NOT_OFFERED | _IGNORED
    return {name: raw for name, raw in members.items() if name not in left and raw != _NULL}


def _to_chat(view: MessagesView, warnings: list[str]) -> dict[str, Any]:
    chat: dict[str, Any] = {
        "messages": render_messages(to_messages(view.system, view.messages, warnings)),
        "max_tokens": view.max_tokens,
    }
    plain = ("model", "stream", "temperature", "top_p", "top_k")
    chat |= {name: value for name in plain if (value := getattr(view, name)) is not None}
    if view.stop_sequences:
        chat["stop"] = _stops(view.stop_sequences)
    if view.tools:
        chat["tools"] = [_tool(tool, number, warnings) for number, tool in enumerate(view.tools)]
    if view.tool_choice is not None and view.tools:
        chat |= _choice(view.tool_choice)
    chat |= _thinking(view)
    form = view.output_config.format if view.output_config is not None else None
    if (form := form or view.output_format) is not None:
        chat["response_format"] = _format(form)
    if view.metadata is not None and view.metadata.user_id is not None:
        chat["user"] = view.metadata.user_id
    if view.service_tier == "standard_only":
        chat["service_tier"] = "default"
    if view.speed == "fast":
        # With us a speed is a tier: whoever offers it is asked for it, at its price.
        chat["service_tier"] = "fast"
    return chat


def _stops(stops: list[str]) -> list[str]:
    kept = [stop for stop in dict.fromkeys(stops) if stop]
    if len(kept) > _MOST_STOPS:
        raise InvalidRequestError(
            f"`stop_sequences` holds {len(kept)}; at most {_MOST_STOPS} are taken, since most "
            "providers take no more.",
            param="stop_sequences",
            code="invalid_value",
        )
    return kept


def _tool(tool: MessagesTool, number: int, warnings: list[str]) -> dict[str, Any]:
    kind = tool.type
    if kind is not None and kind.startswith(_SEARCH):
        if tool.allowed_domains or tool.blocked_domains:
            warnings.append(f"`tools.{number}`: domains of a web search are not passed on")
        search: dict[str, Any] = {"type": "web_search"}
        if tool.max_uses is not None:
            search["max_uses"] = tool.max_uses
        if tool.user_location not in (ABSENT, _NULL):
            search["user_location"] = tool.user_location
        return search
    if kind not in {None, "custom"}:
        raise InvalidRequestError(
            f"`tools.{number}` is of type {str(kind)[:64]!r}, which only Anthropic runs or knows; "
            "send the tool with a name and an `input_schema`.",
            param=f"tools.{number}.type",
            code="not_supported",
        )
    if tool.input_schema is None:
        raise InvalidRequestError(
            f"`tools.{number}.input_schema` is missing; it is required.",
            param=f"tools.{number}.input_schema",
            code="missing",
        )
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    made: dict[str, Any] = {"type": "function", "function": function}
    if tool.cache_control is not None:
        made["cache_control"] = msgspec.to_builtins(tool.cache_control)
    return made


def _choice(choice: MessagesToolChoice) -> dict[str, Any]:
    if choice.type == "tool":
        if choice.name is None:
            raise InvalidRequestError(
                "`tool_choice.name` is required for the type tool.",
                param="tool_choice.name",
                code="missing",
            )
        sent: dict[str, Any] = {
            "tool_choice": {"type": "function", "function": {"name": choice.name}}
        }
    else:
        sent = {"tool_choice": _CHOICES[choice.type]}
    if choice.disable_parallel_tool_use:
        sent["parallel_tool_calls"] = False
    return sent


def _thinking(view: MessagesView) -> dict[str, Any]:
    thinking = view.thinking
    effort = view.output_config.effort if view.output_config is not None else None
    if thinking is None:
        if effort is None:
            return {}
        # Chat knows three words for how hard to work; the two above are for thinking alone.
        return {"effort": effort if effort in {"low", "medium", "high"} else "high"}
    if thinking.type == "disabled":
        return {"reasoning": {"effort": "none"}}
    if thinking.type == "adaptive":
        reasoning: dict[str, Any] = {"effort": effort or "high"}
    else:
        if thinking.budget_tokens is None:
            raise InvalidRequestError(
                "`thinking.budget_tokens` is missing; it is required for the type enabled.",
                param="thinking.budget_tokens",
                code="missing",
            )
        if thinking.budget_tokens >= view.max_tokens:
            raise InvalidRequestError(
                f"`thinking.budget_tokens` ({thinking.budget_tokens}) must be less than "
                f"`max_tokens` ({view.max_tokens}).",
                param="thinking.budget_tokens",
                code="invalid_value",
            )
        reasoning = {"max_tokens": thinking.budget_tokens}
    if thinking.display == "omitted":
        reasoning["exclude"] = True
    return {"reasoning": reasoning}


def _format(form: Format) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": form.schema, "strict": True},
    }
