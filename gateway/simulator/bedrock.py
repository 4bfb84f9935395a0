"""Amazon Bedrock's Converse and ConverseStream as the service writes them.

From the published model of bedrock-runtime (2023-09-30) and the API reference
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html). The base URL is
the host without a path; the stand-in demands a bearer key or a signature.
"""

import base64
import re
from typing import Any
from urllib.parse import unquote

import msgspec

from gateway.simulator import answers, bedrock_errors, bedrock_signature
from gateway.simulator.bedrock_frames import EVENT_STREAM
from gateway.simulator.bedrock_models import sign_reasoning
from gateway.simulator.bedrock_requests import check_converse
from gateway.simulator.bedrock_shapes import inner
from gateway.simulator.bedrock_speech import Speech, speak
from gateway.simulator.manifest import MANIFEST, SimulatedProvider
from gateway.simulator.wire import Addressed, Answer, Bill, Call, Frame, FrameKind, WireProtocol

_PATH = re.compile(r"model/([^/?]+)/(converse|converse-stream)/?(?:\?.*)?")
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ARGUMENT_CHARACTERS = 8


def _address(below: str) -> Addressed | None:
    found = _PATH.fullmatch(below)
    if found is None:
        return None
    return Addressed(
        route=found[2], model=unquote(found[1]), is_stream=found[2] == "converse-stream"
    )


def _answer(call: Call) -> Answer:
    check_converse(call)
    speech, bill = speak(call)
    usage = _usage(bill, call.behaviour.usage_fault)
    stop_reason = call.behaviour.finish or speech.stop_reason
    whole: dict[str, Any] = {
        "metrics": {"latencyMs": 412 + bill.completion_tokens},
        "output": {"message": {"content": _blocks(call, speech), "role": "assistant"}},
        "stopReason": stop_reason,
        **_served(call),
    }
    if call.behaviour.ending == "no_choices":
        whole["output"] = {}
    if usage is not None:
        whole["usage"] = usage
    return Answer(
        body=msgspec.json.encode(whole),
        frames=_frames(call, speech, bill, stop_reason) if call.is_stream else None,
        bill=bill,
        text=speech.text,
        is_usage_sent=usage is not None,
    )


def _served(call: Call) -> dict[str, Any]:
    """What is echoed of the way in which a request was served."""
    names = ("performanceConfig", "serviceTier")
    return {name: call.body[name] for name in names if name in call.body}


def _usage(bill: Bill, fault: str | None) -> dict[str, Any] | None:
    """Input counts exclude what the cache gave and took."""
    if fault == "usage_missing":
        return None
    replaced = {"usage_zero": 0, "usage_negative": -1, "usage_huge": 10**18}

    def count(true: int) -> int | float | str:
        if fault == "usage_string":
            return str(true)
        if fault == "usage_float":
            return float(true)
        return replaced.get(fault or "", true)

    uncached = bill.prompt_tokens - bill.cached_tokens - bill.cache_write_tokens
    usage: dict[str, Any] = {
        "inputTokens": count(uncached),
        "outputTokens": count(bill.completion_tokens),
        "totalTokens": count(bill.prompt_tokens + bill.completion_tokens),
        "cacheReadInputTokens": count(bill.cached_tokens),
        "cacheWriteInputTokens": count(bill.cache_write_tokens),
    }
    hourly = bill.cache_write_1h_tokens
    shares = {"1h": hourly, "5m": bill.cache_write_tokens - hourly}
    details = [
        {"ttl": ttl, "inputTokens": count(tokens)} for ttl, tokens in shares.items() if tokens
    ]
    return usage | {"cacheDetails": details} if details else usage


def _blocks(call: Call, speech: Speech) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if speech.reasoning:
        blocks.append({"reasoningContent": _reasoning(call, speech)})
    if speech.text:
        blocks.append({"text": speech.text})
    for id_, name, arguments in speech.calls:
        try:
            value: Any = msgspec.json.decode(arguments)
        except msgspec.DecodeError:
            # Cut off by the limit.
            value = {}
        blocks.append({"toolUse": {"input": value, "name": name, "toolUseId": id_}})
    return blocks


def _reasoning(call: Call, speech: Speech) -> dict[str, Any]:
    if call.behaviour.reasoning == "hidden":
        return {"redactedContent": _redacted(speech)}
    shown = _shown(call, speech)
    return {"reasoningText": {"signature": sign_reasoning(shown), "text": shown}}


def _shown(call: Call, speech: Speech) -> str:
    """The reasoning as it is shown: Claude can be asked to keep it to itself."""
    thinking = inner(inner(call.body, "additionalModelRequestFields"), "thinking")
    return "" if thinking.get("display") == "omitted" else speech.reasoning


def _redacted(speech: Speech) -> str:
    return base64.b64encode(speech.reasoning.encode()[::-1]).decode()


class _Writer:
    """Collects frames and counts what they carry."""

    def __init__(self, seed: bytes) -> None:
        self.frames: list[Frame] = []
        self._bytes = 0
        self._chance = answers.seeded(seed)

    def add(
        self,
        event: str,
        data: dict[str, Any],
        *,
        kind: FrameKind = "head",
        text: str = "",
        produced: int | None = None,
    ) -> None:
        """One event; all carry padding, which hides how long they are."""
        self._bytes += len(text.encode())
        padded = data | {"p": _PADDING[: self._chance.randint(1, len(_PADDING))]}
        self.frames.append(
            Frame(
                kind=kind,
                data=msgspec.json.encode(padded),
                event=event,
                text=text,
                produced=answers.tokens_of_bytes(self._bytes) if produced is None else produced,
            )
        )

    def delta(self, index: int, delta: dict[str, Any], text: str) -> None:
        """A piece of a content block."""
        data = {"contentBlockIndex": index, "delta": delta}
        self.add("contentBlockDelta", data, kind="content", text=text)


def _frames(call: Call, speech: Speech, bill: Bill, stop_reason: str) -> tuple[Frame, ...]:
    writer = _Writer(speech.seed)
    writer.add("messageStart", {"role": "assistant"})
    fault = call.behaviour.usage_fault
    if fault == "usage_twice":
        early = Bill(prompt_tokens=bill.prompt_tokens, completion_tokens=1)
        writer.add("metadata", {"metrics": {"latencyMs": 1}, "usage": _usage(early, None)})
    if call.behaviour.ending != "no_choices":
        _write_blocks(call, speech, writer)
    writer.add(
        "messageStop",
        {"stopReason": stop_reason},
        kind="finish",
        produced=bill.completion_tokens,
    )
    usage = _usage(bill, fault)
    metadata: dict[str, Any] = {"metrics": {"latencyMs": 412 + bill.completion_tokens}}
    if usage is not None:
        metadata["usage"] = usage
    kind: FrameKind = "head" if usage is None else "usage"
    writer.add("metadata", metadata | _served(call), kind=kind, produced=bill.completion_tokens)
    return tuple(writer.frames)


def _write_blocks(call: Call, speech: Speech, writer: _Writer) -> None:
    chance = answers.seeded(speech.seed)
    index = 0
    if speech.reasoning:
        if call.behaviour.reasoning == "hidden":
            hidden = {"reasoningContent": {"redactedContent": _redacted(speech)}}
            writer.delta(index, hidden, speech.reasoning)
        else:
            shown = _shown(call, speech)
            for piece in answers.pieces(shown, chance):
                writer.delta(index, {"reasoningContent": {"text": piece}}, piece)
            signature = sign_reasoning(shown)
            writer.delta(index, {"reasoningContent": {"signature": signature}}, "")
        writer.add("contentBlockStop", {"contentBlockIndex": index})
        index += 1
    if speech.text:
        for piece in answers.pieces(speech.text, chance):
            writer.delta(index, {"text": piece}, piece)
        writer.add("contentBlockStop", {"contentBlockIndex": index})
        index += 1
    for id_, name, arguments in speech.calls:
        start = {"toolUse": {"name": name, "toolUseId": id_}}
        writer.add(
            "contentBlockStart",
            {"contentBlockIndex": index, "start": start},
            kind="content",
            text=name,
        )
        # A call without arguments may come without a piece of them.
        whole = arguments if arguments != "{}" else ""
        for at in range(0, len(whole), _ARGUMENT_CHARACTERS):
            piece = whole[at : at + _ARGUMENT_CHARACTERS]
            writer.delta(index, {"toolUse": {"input": piece}}, piece)
        writer.add("contentBlockStop", {"contentBlockIndex": index})
        index += 1


def _list_models(provider: SimulatedProvider | None, created: int) -> bytes:  # noqa: ARG001 -- it tells no time
    owners = [provider] if provider is not None else list(MANIFEST)
    ids = {model.id: owner.name for owner in owners for model in owner.models}
    summaries = [
        {"modelId": model, "modelName": model, "providerName": owner, "outputModalities": ["TEXT"]}
        for model, owner in ids.items()
    ]
    return msgspec.json.encode({"modelSummaries": summaries})


BEDROCK = WireProtocol(
    name="bedrock",
    routes=frozenset(),
    address=_address,
    answer=_answer,
    list_models=_list_models,
    models_path="foundation-models",
    error=bedrock_errors.error_body,
    error_headers=bedrock_errors.error_headers,
    error_frame=bedrock_errors.error_frame,
    scripted=bedrock_errors.scripted,
    credential=bedrock_signature.credential,
    authenticate=bedrock_signature.authenticate,
    refuse_credential=bedrock_signature.refuse_credential,
    refuse_route=bedrock_errors.refuse_route,
    unreadable=bedrock_errors.unreadable,
    headers={},
    request_id_header="x-amzn-requestid",
    stream=EVENT_STREAM,
)
