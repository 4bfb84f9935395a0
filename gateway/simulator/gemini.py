"""Gemini's generateContent as a server writes it, whole and streamed, on both of Google's services.

Written from google/ai/generativelanguage/v1beta/generative_service.proto and ai.google.dev. Vertex
answers under `projects/P/locations/R/publishers/google/models/M:method` and wants a bearer token.
Streams are server-sent events without an end marker, and only with `?alt=sse`; each event carries
usage that counts from the start. `finish=prompt:SAFETY` blocks the prompt, any other `finish` is
the finish reason as written.
"""

import base64
import re
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from gateway.simulator import answers, gemini_errors
from gateway.simulator.gemini_models import abilities
from gateway.simulator.gemini_requests import check_request, member
from gateway.simulator.gemini_speech import AUDIO_TOKENS, IMAGE_TOKENS, Spoken, read_prompt, speak
from gateway.simulator.manifest import MANIFEST, SimulatedProvider
from gateway.simulator.server_sent import SERVER_SENT
from gateway.simulator.wire import Addressed, Answer, Bill, Call, Frame, WireProtocol

VERTEX, DEVELOPER = "vertex", "developer"
_PATH = re.compile(
    r"(projects/[^/]+/locations/[^/]+/publishers/google/)?models/([^/]+):"
    r"(generateContent|streamGenerateContent)"
)


def _address(path: str) -> Addressed | None:
    found = _PATH.fullmatch(unquote(path.partition("?")[0]))
    if found is None:
        return None
    return Addressed(
        route=VERTEX if found[1] else DEVELOPER,
        model=found[2],
        is_stream=found[3] == "streamGenerateContent",
    )


def _answer(call: Call) -> Answer:
    body = check_request(call, is_vertex=call.route == VERTEX)
    prompt, details = read_prompt(body)
    prompt_tokens = sum(details.values())
    if call.offer is not None and prompt_tokens > call.offer.context_tokens:
        raise gemini_errors.context_exceeded(call.offer.context_tokens, prompt_tokens)
    config = member(body, "generationConfig")
    seed = blake2b(msgspec.json.encode([prompt, config.get("seed")]), digest_size=8).digest()
    count = config.get("candidateCount") or 1
    able = abilities(call.model)
    spoken = [speak(call, body, able, seed + bytes([index])) for index in range(count)]
    cached = call.cache.look_up(call.model, prompt)
    bill = Bill(
        prompt_tokens=prompt_tokens,
        cached_tokens=cached if call.behaviour.cached is None else call.behaviour.cached,
        completion_tokens=sum(one.tokens + one.thoughts for one in spoken),
        reasoning_tokens=sum(one.thoughts for one in spoken),
    )
    envelope = {
        "modelVersion": call.model,
        "responseId": base64.urlsafe_b64encode(seed + call.number.to_bytes(4)).decode().rstrip("="),
    }
    counted = _Counted(call, bill, details, spoken)
    whole = _whole(call, spoken, counted) | envelope
    frames: tuple[Frame, ...] | None = None
    if call.is_stream:
        frames = _frames(call, spoken, counted, envelope)
    text = msgspec.json.encode(whole)
    if call.is_stream and parse_qs(call.target.partition("?")[2]).get("alt") != ["sse"]:
        text = b"[" + b",\r\n".join(frame.data for frame in frames or ()) + b"\n]"
        frames = None
    return Answer(
        body=text,
        frames=frames,
        bill=bill,
        text=spoken[0].text,
        is_usage_sent=call.behaviour.usage_fault != "usage_missing",
    )


class _Counted:
    """The usage of an answer, at its end and on the way."""

    def __init__(
        self, call: Call, bill: Bill, details: dict[str, int], spoken: list[Spoken]
    ) -> None:
        self._call = call
        self._bill = bill
        self._details = details
        self._made = {
            "IMAGE": sum(one.images for one in spoken) * IMAGE_TOKENS,
            "AUDIO": sum(one.sounds for one in spoken) * AUDIO_TOKENS,
        }

    def usage(self, candidates: int | None = None, thoughts: int | None = None) -> dict[str, Any]:
        """Members of `usageMetadata`; the whole count when nothing is given."""
        bill, fault = self._bill, self._call.behaviour.usage_fault
        is_last = candidates is None
        candidates = (
            bill.completion_tokens - bill.reasoning_tokens if candidates is None else candidates
        )
        thoughts = bill.reasoning_tokens if thoughts is None else thoughts
        replaced = {"usage_zero": 0, "usage_negative": -1, "usage_huge": 10**18}

        def count(true: int) -> int | float | str:
            if fault == "usage_string":
                return str(true)
            if fault == "usage_float":
                return float(true)
            return replaced.get(fault or "", true)

        usage: dict[str, Any] = {
            "promptTokenCount": count(bill.prompt_tokens),
            "totalTokenCount": count(bill.prompt_tokens + candidates + thoughts),
            "promptTokensDetails": [
                {"modality": name, "tokenCount": count(tokens)}
                for name, tokens in self._details.items()
            ],
        }
        # Zeros are left out, and with `usage_twice` what an earlier event told.
        if candidates:
            usage["candidatesTokenCount"] = count(candidates)
        if bill.cached_tokens and not (is_last and fault == "usage_twice"):
            usage["cachedContentTokenCount"] = count(bill.cached_tokens)
            usage["cacheTokensDetails"] = [
                {"modality": "TEXT", "tokenCount": count(bill.cached_tokens)}
            ]
        if thoughts:
            usage["thoughtsTokenCount"] = count(thoughts)
        made = [
            {"modality": name, "tokenCount": count(tokens)}
            for name, tokens in self._made.items()
            if tokens
        ]
        if made and is_last:
            usage["candidatesTokensDetails"] = made
        if self._call.route == VERTEX:
            usage["trafficType"] = "ON_DEMAND"
        else:
            usage["serviceTier"] = self._call.body.get("serviceTier") or "standard"
        return {} if fault == "usage_missing" else {"usageMetadata": usage}


def _candidate(
    call: Call, index: int, parts: list[dict[str, Any]], one: Spoken, *, is_last: bool
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": index}
    if parts or not is_last:
        candidate["content"] = {"parts": parts, "role": "model"}
    if not is_last:
        return candidate
    candidate["finishReason"] = call.behaviour.finish or one.finish
    if call.behaviour.ending == "error_choice":
        candidate["finishReason"] = "MALFORMED_FUNCTION_CALL"
        candidate["finishMessage"] = "Malformed function call: print(default_api."
        candidate.pop("content", None)
    if one.grounding is not None:
        candidate["groundingMetadata"] = one.grounding
    return candidate


def _whole(call: Call, spoken: list[Spoken], counted: _Counted) -> dict[str, Any]:
    usage = counted.usage()
    blocked = _blocked(call)
    if blocked is not None:
        return blocked | usage
    if call.behaviour.ending == "no_choices":
        return usage
    candidates: list[dict[str, Any]] = []
    for index, one in enumerate(spoken):
        parts = _joined([part for part, _ in one.parts])
        candidate = _candidate(call, index, parts, one, is_last=True)
        if member(call.body, "generationConfig").get("responseLogprobs"):
            candidate["logprobsResult"] = _logprobs(call, one.text)
        candidates.append(candidate)
    return {"candidates": candidates} | usage


def _blocked(call: Call) -> dict[str, Any] | None:
    finish = call.behaviour.finish or ""
    if not finish.startswith("prompt:"):
        return None
    return {"promptFeedback": {"blockReason": finish.removeprefix("prompt:")}}


def _joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring texts as the one part that they are in a whole answer."""
    joined: list[dict[str, Any]] = []
    for part in parts:
        is_text = set(part) <= {"text", "thought"}
        if joined and is_text and set(joined[-1]) == set(part) == {"text"}:
            joined[-1] = {"text": joined[-1]["text"] + part["text"]}
        else:
            joined.append(dict(part))
    if len(joined) > 1 and joined[-1].get("text") == "" and "text" in joined[-2]:
        # A whole answer has its signature on the text itself.
        signature = joined.pop()["thoughtSignature"]
        joined[-1]["thoughtSignature"] = signature
    return joined


def _logprobs(call: Call, text: str) -> dict[str, Any]:
    chance = answers.seeded(text.encode())
    top = member(call.body, "generationConfig").get("logprobs") or 0
    chosen: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for token in answers.pieces(text, chance):
        likely = round(-chance.random() / 4, 6)
        best = {"token": token, "tokenId": len(token), "logProbability": likely}
        chosen.append(best)
        rest = [
            {"token": f" {answers.word(chance)}", "tokenId": rank, "logProbability": likely - rank}
            for rank in range(1, top)
        ]
        others.append({"candidates": [best, *rest][:top]})
    return (
        {"topCandidates": others, "chosenCandidates": chosen}
        if top
        else {"chosenCandidates": chosen}
    )


def _frames(
    call: Call, spoken: list[Spoken], counted: _Counted, envelope: dict[str, Any]
) -> tuple[Frame, ...]:
    blocked = _blocked(call)
    if blocked is not None or call.behaviour.ending == "no_choices":
        data = msgspec.json.encode((blocked or {}) | counted.usage() | envelope)
        return (Frame(kind="finish", data=data, has_usage=True),)
    frames: list[Frame] = []
    written = thoughts = 0
    is_logged = member(call.body, "generationConfig").get("responseLogprobs")
    for index, one in enumerate(spoken):
        if one.thoughts and not one.shown_thoughts:
            thoughts += one.thoughts
        for part, tokens in () if call.behaviour.ending == "error_choice" else one.parts:
            if part.get("thought"):
                thoughts += tokens
            else:
                written += tokens
            candidate = _candidate(call, index, [part], one, is_last=False)
            if is_logged and part.get("text"):
                candidate["logprobsResult"] = _logprobs(call, part["text"])
            event = {"candidates": [candidate]} | counted.usage(written, thoughts) | envelope
            frames.append(
                Frame(
                    kind="content",
                    data=msgspec.json.encode(event),
                    produced=written + thoughts,
                    text=part.get("text", ""),
                    has_usage=True,
                )
            )
    last = [
        _candidate(call, index, [{"text": ""}] if one.grounding else [], one, is_last=True)
        for index, one in enumerate(spoken)
    ]
    event = {"candidates": last} | counted.usage() | envelope
    frames.append(
        Frame(
            kind="finish",
            data=msgspec.json.encode(event),
            produced=written + thoughts,
            has_usage=call.behaviour.usage_fault != "usage_missing",
        )
    )
    return tuple(frames)


def _list_models(provider: SimulatedProvider | None, _created: int) -> bytes:
    owners = [provider] if provider is not None else list(MANIFEST)
    models = {model.id: model for owner in owners for model in owner.models}
    return msgspec.json.encode(
        {
            "models": [
                {
                    "name": f"models/{name}",
                    "displayName": name,
                    "inputTokenLimit": model.context_tokens,
                    "outputTokenLimit": model.max_output_tokens,
                    "supportedGenerationMethods": ["generateContent"],
                }
                for name, model in models.items()
            ]
        }
    )


GEMINI = WireProtocol(
    name="gemini",
    routes=frozenset(),
    address=_address,
    answer=_answer,
    list_models=_list_models,
    error=gemini_errors.error_body,
    scripted=gemini_errors.scripted,
    credential=gemini_errors.credential,
    authenticate=gemini_errors.authenticate,
    refuse_credential=gemini_errors.refuse_credential,
    unreadable=gemini_errors.unreadable,
    stream=SERVER_SENT,
    refuse_route=gemini_errors.refuse_route,
    headers={"server-timing": "gfet4t7; dur=1"},
)
