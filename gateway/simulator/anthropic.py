"""Anthropic's Messages API as a server writes it, streamed and whole.

Written from platform.claude.com/docs/en/api/messages and its page on streaming. Thinking comes when
it is asked for, signed; with `reasoning=hidden` it is redacted. A web search tool is used once.
Prompts are cached up to the last mark. `finish` is the stop reason as written.
"""

import random
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.simulator import answers, anthropic_errors
from gateway.simulator.anthropic_messages import blocks_of, cache_marks, redacted, signature_of
from gateway.simulator.anthropic_requests import check_request
from gateway.simulator.anthropic_tools import SEARCH
from gateway.simulator.json_values import as_array, as_object
from gateway.simulator.manifest import MANIFEST, SimulatedProvider
from gateway.simulator.schema import SchemaError, instance
from gateway.simulator.server_sent import SERVER_SENT
from gateway.simulator.wire import Answer, Bill, Call, Frame, FrameKind, WireProtocol

HEADERS = {
    "anthropic-organization-id": "simulated",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-01-15T12:00:00Z",
}
EFFORT_TOKENS = {"low": 24, "medium": 64, "high": 128, "xhigh": 256, "max": 384}
_PLACEHOLDER_TOKENS = 1
_PIECE_BYTES = 8


class _Block(msgspec.Struct, frozen=True, kw_only=True):
    """One content block: whole, as a stream begins it, and the deltas that follow."""

    whole: dict[str, Any]
    start: dict[str, Any]
    deltas: tuple[tuple[dict[str, Any], str], ...] = ()
    """Each with the generated text inside."""
    begins_with: str = ""
    """Generated text inside the start."""


class _Speech(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, before it is written down."""

    blocks: tuple[_Block, ...]
    text: str
    tokens: int
    thinking_tokens: int
    searches: int
    stop_reason: str
    stop_sequence: str | None = None


def _answer(call: Call) -> Answer:
    check_request(call)
    body = call.body
    prompt, extra_tokens = _prompt(body)
    prompt_tokens = answers.tokens_of_bytes(len(prompt)) + extra_tokens
    if call.offer is not None and prompt_tokens > call.offer.context_tokens:
        raise anthropic_errors.context_exceeded(prompt_tokens, call.offer.context_tokens)
    seed = blake2b(prompt, digest_size=8).digest()
    speech = _speak(call, answers.seeded(seed))
    bill = _bill(call, prompt, prompt_tokens, speech)
    message: dict[str, Any] = {
        "id": f"msg_{seed.hex()}{call.number:08x}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": None,
    }
    whole = message | {
        "content": [block.whole for block in speech.blocks],
        "stop_reason": speech.stop_reason,
        "stop_sequence": speech.stop_sequence,
    }
    fault = call.behaviour.usage_fault
    if fault == "usage_missing":
        del whole["usage"]
    else:
        whole["usage"] = _usage(call, bill, speech)
    if call.behaviour.ending == "no_choices":
        whole["content"] = None
    if call.behaviour.ending == "error_choice":
        refusal = anthropic_errors.scripted(call.behaviour, None)
        whole = msgspec.json.decode(anthropic_errors.error_body(refusal))
    return Answer(
        body=msgspec.json.encode(whole),
        frames=_frames(call, message, speech, bill) if call.is_stream else None,
        bill=bill,
        text=speech.text,
        is_usage_sent=fault != "usage_missing",
    )


def _prompt(body: dict[str, Any]) -> tuple[bytes, int]:
    """The bytes a prompt is counted and cached by, and the tokens of what is not text."""
    parts: list[bytes] = []
    extra = 0
    if body.get("tools"):
        parts.append(msgspec.json.encode(body["tools"]))
    blocks = blocks_of(body.get("system") or [])
    for message in body["messages"]:
        blocks += blocks_of(message["content"])
    for block in blocks:
        kind = block["type"]
        if kind == "image":
            extra += answers.IMAGE_TOKENS
        elif kind == "document":
            extra += answers.FILE_TOKENS
        elif kind == "text":
            parts.append(b"\n" + block["text"].encode())
        else:
            parts.append(msgspec.json.encode(block))
    return b"".join(parts), extra


def _bill(call: Call, prompt: bytes, prompt_tokens: int, speech: _Speech) -> Bill:
    marks = cache_marks(call.body)
    cached = written = 0
    if marks:
        cached = min(call.cache.look_up(call.model, prompt), prompt_tokens)
        written = prompt_tokens - cached
        if prompt_tokens < answers.CACHE_LEAST_TOKENS:
            cached = written = 0
    if call.behaviour.cached is not None:
        cached = min(call.behaviour.cached, prompt_tokens)
        written = min(written, prompt_tokens - cached)
    is_long = any(mark.get("ttl") == "1h" for mark in marks)
    return Bill(
        prompt_tokens=prompt_tokens,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written if is_long else 0,
        completion_tokens=speech.tokens,
        reasoning_tokens=speech.thinking_tokens,
    )


def _usage(call: Call, bill: Bill, speech: _Speech) -> dict[str, Any]:
    fault = call.behaviour.usage_fault
    replaced = {"usage_zero": 0, "usage_negative": -1, "usage_huge": 10**18}

    def count(true: int) -> int | float | str:
        if fault == "usage_string":
            return str(true)
        if fault == "usage_float":
            return float(true)
        return replaced.get(fault or "", true)

    usage: dict[str, Any] = {
        "input_tokens": count(bill.prompt_tokens - bill.cached_tokens - bill.cache_write_tokens),
        "cache_creation_input_tokens": count(bill.cache_write_tokens),
        "cache_read_input_tokens": count(bill.cached_tokens),
        "cache_creation": {
            "ephemeral_5m_input_tokens": count(
                bill.cache_write_tokens - bill.cache_write_1h_tokens
            ),
            "ephemeral_1h_input_tokens": count(bill.cache_write_1h_tokens),
        },
        "output_tokens": count(bill.completion_tokens),
        "service_tier": "standard",
        "inference_geo": call.behaviour.geo or call.body.get("inference_geo") or "global",
    }
    speed = call.behaviour.speed or call.body.get("speed")
    if speed is not None:
        usage["speed"] = speed
    if bill.reasoning_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": count(bill.reasoning_tokens)}
    if speech.searches:
        usage["server_tool_use"] = {"web_search_requests": speech.searches}
    return usage


def _speak(call: Call, chance: random.Random) -> _Speech:
    body = call.body
    left: int = body["max_tokens"]
    blocks: list[_Block] = []
    thought = answers.prose(chance, min(left // 2, _thinking_tokens(body)))
    if thought:
        blocks.append(_thinking(call, thought, chance))
    thinking_tokens = answers.count_tokens(thought)
    left -= thinking_tokens
    called = _functions_to_call(call)
    stop, sequence, text = "tool_use", None, ""
    tokens = thinking_tokens
    if called:
        for tool in called:
            block, size = _call_block(tool, chance)
            if size > left:
                stop = "max_tokens"
                break
            blocks.append(block)
            left -= size
            tokens += size
    else:
        search = _search_block(call, chance)
        blocks += search
        text, stop, sequence = _text(call, chance, left)
        if text:
            blocks.append(_text_block(text, chance, has_source=bool(search)))
        tokens += answers.count_tokens(text)
    return _Speech(
        blocks=tuple(blocks),
        text=text,
        tokens=tokens,
        thinking_tokens=thinking_tokens,
        searches=sum(block.whole["type"] == "server_tool_use" for block in blocks),
        stop_reason=call.behaviour.finish or stop,
        stop_sequence=sequence,
    )


def _thinking_tokens(body: dict[str, Any]) -> int:
    thinking = as_object(body.get("thinking")) or {}
    if thinking.get("type") == "enabled":
        return min(thinking["budget_tokens"] // 16, 256)
    if thinking.get("type") == "adaptive":
        output = as_object(body.get("output_config")) or {}
        return EFFORT_TOKENS[output.get("effort") or "high"]
    return 0


def _thinking(call: Call, thought: str, chance: random.Random) -> _Block:
    if call.behaviour.reasoning == "hidden":
        block = {"type": "redacted_thinking", "data": redacted(thought)}
        return _Block(whole=block, start=block, begins_with=thought)
    if (as_object(call.body.get("thinking")) or {}).get("display") == "omitted":
        thought = ""
    signature = signature_of(thought)
    deltas: list[tuple[dict[str, Any], str]] = [
        ({"type": "thinking_delta", "thinking": piece}, piece)
        for piece in answers.pieces(thought, chance)
    ]
    deltas.append(({"type": "signature_delta", "signature": signature}, ""))
    return _Block(
        whole={"type": "thinking", "thinking": thought, "signature": signature},
        start={"type": "thinking", "thinking": "", "signature": ""},
        deltas=tuple(deltas),
    )


def _functions_to_call(call: Call) -> list[dict[str, Any]]:
    body = call.body
    tools = [tool for tool in as_array(body.get("tools")) or [] if tool.get("type") != SEARCH]
    choice = as_object(body.get("tool_choice")) or {"type": "auto"}
    last = body["messages"][-1]
    answered = any(block["type"] == "tool_result" for block in blocks_of(last["content"]))
    is_asked = last["role"] == "user" and not answered
    if not tools or choice["type"] == "none" or (choice["type"] == "auto" and not is_asked):
        return []
    if choice["type"] == "tool":
        tools = [tool for tool in tools if tool["name"] == choice["name"]]
    if not tools:
        return []
    count = 1 if choice.get("disable_parallel_tool_use") else call.behaviour.tool_calls
    return [tools[index % len(tools)] for index in range(count)]


def _call_block(tool: dict[str, Any], chance: random.Random) -> tuple[_Block, int]:
    value = _instance(tool["input_schema"], chance, "tools")
    arguments = msgspec.json.encode(value).decode()
    head = {"type": "tool_use", "id": f"toolu_{chance.randbytes(12).hex()}", "name": tool["name"]}
    # The first delta is empty, and a call without arguments has no other.
    deltas: list[tuple[dict[str, Any], str]] = [
        ({"type": "input_json_delta", "partial_json": ""}, "")
    ]
    if arguments != "{}":
        deltas += [
            ({"type": "input_json_delta", "partial_json": piece}, piece)
            for piece in (
                arguments[at : at + _PIECE_BYTES] for at in range(0, len(arguments), _PIECE_BYTES)
            )
        ]
    block = _Block(
        whole=head | {"input": value},
        start=head | {"input": {}},
        deltas=tuple(deltas),
        begins_with=tool["name"],
    )
    return block, answers.count_tokens(tool["name"] + arguments)


def _instance(schema: Any, chance: random.Random, at: str) -> Any:  # noqa: ANN401 -- any JSON
    try:
        return instance(schema, lambda: answers.word(chance))
    except (SchemaError, TypeError, AttributeError, KeyError, ValueError) as exc:
        anthropic_errors.refuse(at, f"schema is invalid: {exc}")


_SOURCE = {
    "type": "web_search_result_location",
    "url": "https://example.com/tolls",
    "title": "Tolls of the world",
    "cited_text": "A toll road leads where it is paid for.",
    "encrypted_index": "Eo8BCioIAhgB",
}


def _search_block(call: Call, chance: random.Random) -> list[_Block]:
    tools = as_array(call.body.get("tools")) or []
    if all(tool.get("type") != SEARCH for tool in tools):
        return []
    search_id = f"srvtoolu_{chance.randbytes(12).hex()}"
    head = {"type": "server_tool_use", "id": search_id, "name": "web_search"}
    query = msgspec.json.encode({"query": answers.word(chance)}).decode()
    result = {
        "type": "web_search_tool_result",
        "tool_use_id": search_id,
        "content": [
            {
                "type": "web_search_result",
                "url": _SOURCE["url"],
                "title": _SOURCE["title"],
                "encrypted_content": "EqgfCioIARgB",
                "page_age": None,
            }
        ],
    }
    return [
        _Block(
            whole=head | {"input": msgspec.json.decode(query)},
            start=head | {"input": {}},
            deltas=(({"type": "input_json_delta", "partial_json": query}, ""),),
        ),
        _Block(whole=result, start=result),
    ]


def _text(call: Call, chance: random.Random, left: int) -> tuple[str, str, str | None]:
    """The text, why it ends, and the stop sequence that ended it."""
    output = as_object(call.body.get("output_config")) or {}
    if call.behaviour.text is not None:
        text = call.behaviour.text
    elif output.get("format") is not None:
        value = _instance(output["format"]["schema"], chance, "output_config")
        text = msgspec.json.encode(value).decode()
    else:
        tokens = call.behaviour.tokens
        text = answers.prose(chance, 24 + chance.randrange(72) if tokens is None else tokens)
    found = [
        (at, stop)
        for stop in as_array(call.body.get("stop_sequences")) or []
        if (at := text.find(stop)) >= 0
    ]
    if found:
        at, stop = min(found)
        return answers.cut(text[:at], left), "stop_sequence", stop
    if answers.count_tokens(text) > left:
        return answers.cut(text, left), "max_tokens", None
    return text, "end_turn", None


def _text_block(text: str, chance: random.Random, *, has_source: bool) -> _Block:
    whole: dict[str, Any] = {"type": "text", "text": text}
    start: dict[str, Any] = {"type": "text", "text": ""}
    deltas: list[tuple[dict[str, Any], str]] = []
    if has_source:
        whole["citations"] = [_SOURCE]
        start["citations"] = []
        deltas.append(({"type": "citations_delta", "citation": _SOURCE}, ""))
    deltas += [
        ({"type": "text_delta", "text": piece}, piece) for piece in answers.pieces(text, chance)
    ]
    return _Block(whole=whole, start=start, deltas=tuple(deltas))


class _Writer:
    """Puts events one after the other and counts what was generated."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._bytes = 0

    def put(
        self,
        kind: FrameKind,
        name: str,
        text: str = "",
        *,
        produced: int | None = None,
        has_usage: bool = False,
        **members: Any,  # noqa: ANN401 -- any JSON
    ) -> None:
        self._bytes += len(text.encode())
        self.frames.append(
            Frame(
                kind=kind,
                data=msgspec.json.encode({"type": name, **members}),
                produced=answers.tokens_of_bytes(self._bytes) if produced is None else produced,
                text=text,
                event=name,
                has_usage=has_usage,
            )
        )


def _frames(call: Call, message: dict[str, Any], speech: _Speech, bill: Bill) -> tuple[Frame, ...]:
    fault = call.behaviour.usage_fault
    usage = _usage(call, bill, speech)
    early = usage | {"output_tokens": _PLACEHOLDER_TOKENS}
    early.pop("server_tool_use", None)
    early.pop("output_tokens_details", None)
    writer = _Writer()
    begun = message | ({} if fault == "usage_missing" else {"usage": early})
    writer.put("head", "message_start", message=begun)
    if call.behaviour.ending == "error_choice":
        refusal = anthropic_errors.scripted(call.behaviour, None)
        return (*writer.frames, anthropic_errors.error_frame(refusal))
    blocks = () if call.behaviour.ending == "no_choices" else speech.blocks
    for index, block in enumerate(blocks):
        kind: FrameKind = "content" if block.begins_with else "head"
        writer.put(
            kind,
            "content_block_start",
            block.begins_with,
            index=index,
            content_block=block.start,
        )
        if index == 0:
            writer.put("head", "ping")
        for delta, text in block.deltas:
            writer.put("content", "content_block_delta", text, index=index, delta=delta)
        writer.put("head", "content_block_stop", index=index)
    done = bill.completion_tokens
    ending = {"stop_reason": speech.stop_reason, "stop_sequence": speech.stop_sequence}
    final: dict[str, Any] = {} if fault == "usage_missing" else {"usage": usage}
    writer.put(
        "finish", "message_delta", produced=done, has_usage=bool(final), delta=ending, **final
    )
    writer.put("done", "message_stop", produced=done)
    return tuple(writer.frames)


def _list_models(provider: SimulatedProvider | None, created: int) -> bytes:
    owners = [provider] if provider is not None else list(MANIFEST)
    ids = sorted({model.id for owner in owners for model in owner.models})
    data = [{"type": "model", "id": one, "display_name": one, "created_at": created} for one in ids]
    return msgspec.json.encode({"data": data, "has_more": False})


ANTHROPIC = WireProtocol(
    name="anthropic",
    routes=frozenset({"messages"}),
    answer=_answer,
    list_models=_list_models,
    error=anthropic_errors.error_body,
    error_headers=anthropic_errors.error_headers,
    error_frame=anthropic_errors.error_frame,
    scripted=anthropic_errors.scripted,
    credential=anthropic_errors.credential,
    refuse_credential=anthropic_errors.refuse_credential,
    refuse_route=anthropic_errors.refuse_route,
    unreadable=anthropic_errors.unreadable,
    headers=HEADERS,
    request_id_header="request-id",
    stream=SERVER_SENT,
)
