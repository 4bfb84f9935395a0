"""OpenAI's chat completions as a server writes them, streamed and whole.

Written from OpenAI's API reference (https://platform.openai.com/docs/api-reference/chat) and its
published error messages. Reasoning text follows the fields other providers use on the same wire.
"""

import random
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.simulator import answers, openai_errors
from gateway.simulator.json_values import Json, as_array, as_object
from gateway.simulator.manifest import MANIFEST, SimulatedProvider
from gateway.simulator.openai_embeddings import embed
from gateway.simulator.openai_requests import check_chat, is_reasoning_model
from gateway.simulator.schema import SchemaError, instance
from gateway.simulator.server_sent import SERVER_SENT
from gateway.simulator.wire import (
    Answer,
    Bill,
    Call,
    Frame,
    FrameKind,
    RefusedError,
    WireProtocol,
)

DONE = b"[DONE]"
HEADERS = {
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-reset-requests": "6ms",
}
DEFAULT_LIMIT_TOKENS = 16_384
REASONING_TOKENS = {"none": 0, "minimal": 8, "low": 32, "medium": 96, "high": 256, "xhigh": 512}


class _Speech(msgspec.Struct, frozen=True, kw_only=True):
    """One choice before it is written down."""

    reasoning: str
    text: str
    calls: tuple[tuple[str, str, str], ...]
    finish: str

    @property
    def tokens(self) -> int:
        called = sum(answers.count_tokens(name + arguments) for _, name, arguments in self.calls)
        return self.reasoning_tokens + answers.count_tokens(self.text) + called

    @property
    def reasoning_tokens(self) -> int:
        return answers.count_tokens(self.reasoning)


def _answer(call: Call) -> Answer:
    return embed(call) if call.route == "embeddings" else _chat(call)


def _chat(call: Call) -> Answer:
    check_chat(call)
    body = call.body
    prompt, extra_tokens = _prompt(body)
    prompt_tokens = answers.tokens_of_bytes(len(prompt)) + extra_tokens
    openai_errors.check_fits(call, prompt_tokens)
    seed = blake2b(msgspec.json.encode([prompt, body.get("seed")]), digest_size=8).digest()
    count = body.get("n") or 1
    speeches = [_speak(call, seed + bytes([index])) for index in range(count)]
    cached = call.cache.look_up(call.model, prompt)
    bill = Bill(
        prompt_tokens=prompt_tokens,
        cached_tokens=cached if call.behaviour.cached is None else call.behaviour.cached,
        completion_tokens=sum(speech.tokens for speech in speeches),
        reasoning_tokens=sum(speech.reasoning_tokens for speech in speeches),
    )
    usage = _usage(bill, call.behaviour.usage_fault)
    whole = _envelope(call, seed, "chat.completion")
    is_empty = call.behaviour.ending == "no_choices"
    whole["choices"] = (
        []
        if is_empty
        else [_choice(call, index, speech, seed) for index, speech in enumerate(speeches)]
    )
    if usage is not None:
        whole["usage"] = usage
    is_stream = body.get("stream") is True
    wants_usage = bool((as_object(body.get("stream_options")) or {}).get("include_usage"))
    return Answer(
        body=msgspec.json.encode(whole),
        frames=_frames(call, seed, speeches, bill, wants_usage=wants_usage) if is_stream else None,
        bill=bill,
        text=speeches[0].text,
        is_usage_sent=usage is not None and (wants_usage or not is_stream),
    )


def _speak(call: Call, seed: bytes) -> _Speech:
    body = call.body
    chance = answers.seeded(seed)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or _default_limit(call)
    reasoning = answers.prose(chance, min(limit, _reasoning_tokens(call, chance)))
    left = limit - answers.count_tokens(reasoning)
    called = _functions_to_call(call)
    if called:
        return _speak_calls(call, reasoning, called, chance, left)
    text = _text(call, chance)
    finish = "stop"
    stop = body.get("stop")
    stops: list[str] = [stop] if isinstance(stop, str) else stop or []
    found = [text.find(one) for one in stops if one]
    if any(at >= 0 for at in found):
        text = text[: min(at for at in found if at >= 0)]
    if answers.count_tokens(text) > left:
        text, finish = answers.cut(text, left), "length"
    return _Speech(reasoning=reasoning, text=text, calls=(), finish=finish)


def _default_limit(call: Call) -> int:
    return call.offer.max_output_tokens if call.offer is not None else DEFAULT_LIMIT_TOKENS


def _reasoning_tokens(call: Call, chance: random.Random) -> int:
    if not is_reasoning_model(call):
        return 0
    effort = call.body.get("reasoning_effort") or "medium"
    tokens = REASONING_TOKENS[effort]
    return tokens + chance.randrange(tokens // 4 + 1)


def _functions_to_call(call: Call) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = [
        tool["function"] for tool in as_array(call.body.get("tools")) or []
    ]
    choice = call.body.get("tool_choice") or "auto"
    is_users_turn = call.body["messages"][-1].get("role") == "user"
    if not tools or choice == "none" or (choice == "auto" and not is_users_turn):
        return []
    named = as_object(choice)
    if named is not None and named.get("type") == "function":
        tools = [tool for tool in tools if tool["name"] == named["function"]["name"]]
    count = call.behaviour.tool_calls
    if call.body.get("parallel_tool_calls") is False:
        count = 1
    return [tools[index % len(tools)] for index in range(count)]


def _speak_calls(
    call: Call, reasoning: str, called: list[dict[str, Any]], chance: random.Random, left: int
) -> _Speech:
    calls: list[tuple[str, str, str]] = []
    finish = "tool_calls"
    for function in called:
        schema: Json = function.get("parameters") or {"type": "object"}
        arguments = msgspec.json.encode(_instance(schema, chance, "tools")).decode()
        name = function["name"]
        if answers.count_tokens(name + arguments) > left:
            # A real model is cut in the middle of its arguments too.
            arguments = answers.cut(name + arguments, max(left, 0))[len(name) :]
            finish = "length"
        calls.append((f"call_{chance.randbytes(12).hex()}", name, arguments))
        left -= answers.count_tokens(name + arguments)
        if finish == "length":
            break
    named = as_object(call.body.get("tool_choice"))
    if named is not None and finish == "tool_calls":
        # OpenAI answers a call of a named function with `stop`.
        finish = "stop"
    return _Speech(reasoning=reasoning, text="", calls=tuple(calls), finish=finish)


def _text(call: Call, chance: random.Random) -> str:
    shape = as_object(call.body.get("response_format")) or {}
    if call.behaviour.text is not None:
        return call.behaviour.text
    if shape.get("type") == "json_schema":
        value = _instance(shape["json_schema"].get("schema") or {}, chance, "response_format")
        return msgspec.json.encode(value).decode()
    if shape.get("type") == "json_object":
        return msgspec.json.encode({"answer": answers.word(chance)}).decode()
    tokens = call.behaviour.tokens
    return answers.prose(chance, 24 + chance.randrange(72) if tokens is None else tokens)


def _instance(schema: Json, chance: random.Random, param: str) -> Json:
    try:
        return instance(schema, lambda: answers.word(chance))
    except (SchemaError, TypeError, AttributeError, KeyError, ValueError) as exc:
        message = f"Invalid schema in '{param}': {exc}."
        raise RefusedError(400, message, code="invalid_function_parameters", param=param) from exc


def _prompt(body: dict[str, Any]) -> tuple[bytes, int]:
    """The bytes a prompt is counted and cached by, and the tokens of what is not text."""
    parts: list[bytes] = []
    if body.get("tools"):
        parts.append(msgspec.json.encode(body["tools"]))
    extra = 0
    for message in body["messages"]:
        parts.append(f"\n{message['role']}: ".encode())
        content = message.get("content")
        if isinstance(content, str):
            parts.append(content.encode())
        for part in as_array(content) or []:
            kind = part.get("type")
            if kind in ("text", "refusal"):
                parts.append(str(part[kind]).encode())
            else:
                extra += {
                    "image_url": answers.IMAGE_TOKENS,
                    "input_audio": answers.AUDIO_TOKENS,
                }.get(kind, answers.FILE_TOKENS)
        if message.get("tool_calls"):
            parts.append(msgspec.json.encode(message["tool_calls"]))
    return b"".join(parts), extra


def _usage(bill: Bill, fault: str | None) -> dict[str, Any] | None:
    if fault == "usage_missing":
        return None
    replaced = {"usage_zero": 0, "usage_negative": -1, "usage_huge": 10**18}

    def count(true: int) -> int | float | str:
        if fault == "usage_string":
            return str(true)
        if fault == "usage_float":
            return float(true)
        return replaced.get(fault or "", true)

    return {
        "prompt_tokens": count(bill.prompt_tokens),
        "completion_tokens": count(bill.completion_tokens),
        "total_tokens": count(bill.prompt_tokens + bill.completion_tokens),
        "prompt_tokens_details": {"cached_tokens": count(bill.cached_tokens), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": count(bill.reasoning_tokens),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _envelope(call: Call, seed: bytes, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{seed.hex()}{call.number:08x}",
        "object": kind,
        "created": call.created,
        "model": call.model,
        "service_tier": "default",
        "system_fingerprint": f"fp_{seed.hex()[:10]}",
    }


def _reasoning_field(call: Call) -> str | None:
    asked = call.behaviour.reasoning
    if asked is not None:
        return None if asked == "hidden" else asked
    return call.provider.reasoning_field if call.provider is not None else None


def _choice(call: Call, index: int, speech: _Speech, seed: bytes) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if speech.calls else speech.text,
        "refusal": None,
        "annotations": [],
    }
    field = _reasoning_field(call)
    if field == "think" and speech.reasoning:
        message["content"] = f"<think>{speech.reasoning}</think>{speech.text}"
    elif field is not None and speech.reasoning:
        message[field] = speech.reasoning
    if speech.calls:
        message["tool_calls"] = [
            _tool_call(call, number, one) for number, one in enumerate(speech.calls)
        ]
        if "tool_no_index" not in call.behaviour.forms:
            for tool_call in message["tool_calls"]:
                del tool_call["index"]
    choice: dict[str, Any] = {
        "index": index,
        "message": message,
        "logprobs": _logprobs(call, speech.text, seed) if call.body.get("logprobs") else None,
        "finish_reason": _finish(call, speech),
    }
    if call.behaviour.ending == "error_choice":
        refusal = openai_errors.scripted(call.behaviour, None)
        choice |= {
            "error": {"code": 502, "message": refusal.message},
            "finish_reason": "error",
            "message": {"role": "assistant", "content": ""},
        }
    return choice


def _finish(call: Call, speech: _Speech) -> str:
    return speech.finish if call.behaviour.finish is None else call.behaviour.finish


def _tool_call(call: Call, number: int, one: tuple[str, str, str]) -> dict[str, Any]:
    call_id, name, arguments = one
    forms = call.behaviour.forms
    written: dict[str, Any] = {
        "index": number,
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    if "tool_object" in forms:
        written["function"]["arguments"] = msgspec.json.decode(arguments)
    if "tool_no_index" in forms:
        del written["index"]
    if "tool_no_id" in forms:
        del written["id"]
    return written


def _logprobs(call: Call, text: str, seed: bytes) -> dict[str, Any]:
    chance = answers.seeded(seed + text.encode())
    count = call.body.get("top_logprobs") or 0

    def one(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    written: list[dict[str, Any]] = []
    for token in answers.pieces(text, chance):
        likely = round(-chance.random() / 4, 6)
        top = [one(token, likely)]
        top += [one(f" {answers.word(chance)}", likely - 1 - rank) for rank in range(count - 1)]
        written.append(one(token, likely) | {"top_logprobs": top[:count]})
    return {"content": written, "refusal": None}


class _Event(msgspec.Struct, kw_only=True):
    kind: FrameKind
    delta: dict[str, Any]
    text: str = ""
    finish: str | None = None
    logprobs: dict[str, Any] | None = None
    hidden_bytes: int = 0


def _frames(
    call: Call, seed: bytes, speeches: list[_Speech], bill: Bill, *, wants_usage: bool
) -> tuple[Frame, ...]:
    envelope = _envelope(call, seed, "chat.completion.chunk")
    queues = [_events(call, speech, seed + bytes([i])) for i, speech in enumerate(speeches)]
    if call.behaviour.ending == "no_choices":
        queues = []
    frames: list[Frame] = []
    produced_bytes = 0
    fault = call.behaviour.usage_fault
    early = Bill(prompt_tokens=bill.prompt_tokens, completion_tokens=1)
    # Choices take turns, as they do on the real wire.
    for turn in range(max((len(queue) for queue in queues), default=0)):
        for index, queue in enumerate(queues):
            if turn >= len(queue):
                continue
            event = queue[turn]
            produced_bytes += len(event.text.encode()) + event.hidden_bytes
            choice = {
                "index": index,
                "delta": event.delta,
                "logprobs": event.logprobs,
                "finish_reason": event.finish,
            }
            if event.finish == "error":
                choice["error"] = {
                    "code": 502,
                    "message": openai_errors.scripted(call.behaviour, None).message,
                }
            chunk = envelope | {"choices": [choice]}
            if wants_usage and fault != "usage_missing":
                is_early = fault == "usage_twice" and event.kind == "head"
                chunk["usage"] = _usage(early, None) if is_early else None
            produced = answers.tokens_of_bytes(produced_bytes)
            frames.append(
                Frame(
                    kind=event.kind,
                    data=msgspec.json.encode(chunk),
                    produced=bill.completion_tokens if event.kind == "finish" else produced,
                    text=event.text,
                )
            )
    usage = _usage(bill, fault)
    if wants_usage and usage is not None:
        data = msgspec.json.encode(envelope | {"choices": [], "usage": usage})
        frames.append(Frame(kind="usage", data=data, produced=bill.completion_tokens))
    frames.append(Frame(kind="done", data=DONE, produced=bill.completion_tokens))
    return tuple(frames)


def _events(call: Call, speech: _Speech, seed: bytes) -> list[_Event]:
    chance = answers.seeded(seed)
    field = _reasoning_field(call)
    opening = None if speech.calls else ""
    head = _Event(kind="head", delta={"role": "assistant", "content": opening, "refusal": None})
    if call.behaviour.ending == "error_choice":
        return [head, _Event(kind="finish", delta={}, finish="error")]
    events = [head]
    if speech.reasoning and field == "think":
        events.append(_Event(kind="content", delta={"content": "<think>"}))
    if field is None:
        head.hidden_bytes = len(speech.reasoning.encode())
    else:
        name = "content" if field == "think" else field
        events += [
            _Event(kind="content", delta={name: piece}, text=piece)
            for piece in answers.pieces(speech.reasoning, chance)
        ]
    if speech.reasoning and field == "think":
        events.append(_Event(kind="content", delta={"content": "</think>"}))
    for piece in answers.pieces(speech.text, chance):
        logprobs = _logprobs(call, piece, seed) if call.body.get("logprobs") else None
        events.append(
            _Event(kind="content", delta={"content": piece}, text=piece, logprobs=logprobs)
        )
    for number, one in enumerate(speech.calls):
        events += _call_events(call, number, one)
    events.append(_Event(kind="finish", delta={}, finish=_finish(call, speech)))
    return events


def _call_events(call: Call, number: int, one: tuple[str, str, str]) -> list[_Event]:
    call_id, name, arguments = one
    forms = call.behaviour.forms
    if forms & {"tool_whole", "tool_object"}:
        delta = {"tool_calls": [_tool_call(call, number, one)]}
        return [_Event(kind="content", delta=delta, text=name + arguments)]
    first = _tool_call(call, number, (call_id, name, ""))
    events = [_Event(kind="content", delta={"tool_calls": [first]}, text=name)]
    for at in range(0, len(arguments), 8):
        piece = arguments[at : at + 8]
        part: dict[str, Any] = {"index": number, "function": {"arguments": piece}}
        if "tool_no_index" in forms:
            del part["index"]
        events.append(_Event(kind="content", delta={"tool_calls": [part]}, text=piece))
    return events


def _list_models(provider: SimulatedProvider | None, created: int) -> bytes:
    owners = [provider] if provider is not None else list(MANIFEST)
    ids = {model.id: owner.id for owner in owners for model in owner.models}
    data = [
        {"id": model, "object": "model", "created": created, "owned_by": owner}
        for model, owner in ids.items()
    ]
    return msgspec.json.encode({"object": "list", "data": data})


OPENAI = WireProtocol(
    name="openai",
    routes=frozenset({"chat/completions", "embeddings"}),
    answer=_answer,
    list_models=_list_models,
    error=openai_errors.error_body,
    scripted=openai_errors.scripted,
    credential=openai_errors.credential,
    refuse_credential=openai_errors.refuse_credential,
    refuse_route=openai_errors.refuse_route,
    unreadable=openai_errors.unreadable,
    headers=HEADERS,
    stream=SERVER_SENT,
)
