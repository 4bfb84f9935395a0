"""What a simulated Gemini says, before it is written down: parts, calls, thoughts, sources."""

import base64
import random
from typing import Any

import msgspec

from gateway.simulator import answers, gemini_errors
from gateway.simulator.gemini_models import Abilities
from gateway.simulator.gemini_requests import SIGNATURE, member
from gateway.simulator.json_values import Json, as_array
from gateway.simulator.openai import REASONING_TOKENS
from gateway.simulator.schema import SchemaError, instance
from gateway.simulator.wire import Call

# A PNG of one transparent pixel.
PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360"
        "6060600000000500017a5eab3f0000000049454e44ae426082"
    )
).decode()
IMAGE_TOKENS = 1290
AUDIO_TOKENS = 32
DEFAULT_LIMIT_TOKENS = 65_536
_SOURCES = ("https://example.com/bridge", "https://example.org/road")


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate before it is written down: parts in order, each with its tokens."""

    parts: tuple[tuple[dict[str, Any], int], ...]
    thoughts: int
    finish: str
    text: str
    grounding: dict[str, Any] | None = None
    images: int = 0
    sounds: int = 0

    @property
    def tokens(self) -> int:
        return sum(tokens for _, tokens in self.parts) - self.shown_thoughts

    @property
    def shown_thoughts(self) -> int:
        return sum(tokens for part, tokens in self.parts if part.get("thought"))


def read_prompt(body: dict[str, Any]) -> tuple[bytes, dict[str, int]]:
    """The bytes a prompt is counted and cached by, and its tokens by modality."""
    texts: list[bytes] = []
    if body.get("tools"):
        texts.append(msgspec.json.encode(body["tools"]))
    media: dict[str, int] = {}
    contents: list[dict[str, Any]] = [*body["contents"]]
    if "systemInstruction" in body:
        contents.insert(0, body["systemInstruction"])
    for content in contents:
        texts.append(f"\n{content.get('role', 'user')}: ".encode())
        for part in content["parts"]:
            blob = member(part, "inlineData") or member(part, "fileData")
            if not blob:
                texts.append(part.get("text", "").encode() or msgspec.json.encode(part))
                continue
            kind = str(blob.get("mimeType") or "image/").partition("/")[0]
            name = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO"}.get(kind, "DOCUMENT")
            tokens = answers.AUDIO_TOKENS if name == "AUDIO" else answers.IMAGE_TOKENS
            media[name] = media.get(name, 0) + tokens
    prompt = b"".join(texts)
    return prompt, {"TEXT": answers.tokens_of_bytes(len(prompt)), **media}


def speak(call: Call, body: dict[str, Any], able: Abilities, seed: bytes) -> Spoken:
    """One candidate, the same for the same seed; nothing when the prompt is to be blocked."""
    config = member(body, "generationConfig")
    chance = answers.seeded(seed)
    limit = config.get("maxOutputTokens") or DEFAULT_LIMIT_TOKENS
    thought = answers.prose(chance, min(limit, _thinking_tokens(config, able, chance)))
    thoughts = answers.count_tokens(thought)
    left = limit - thoughts
    parts: list[tuple[dict[str, Any], int]] = []
    if thought and member(config, "thinkingConfig").get("includeThoughts"):
        parts.append(({"text": thought, "thought": True}, thoughts))
    if call.behaviour.finish is not None and call.behaviour.finish.startswith("prompt:"):
        return Spoken(parts=(), thoughts=0, finish="", text="")
    called = _functions_to_call(call, body)
    if called:
        calls, finish = _call(call, called, chance, left, able)
        return Spoken(parts=(*parts, *calls), thoughts=thoughts, finish=finish, text="")
    wanted: list[str] = config.get("responseModalities") or ["TEXT"]
    if "AUDIO" in wanted:
        sound = {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AAAAAAAA"}
        parts.append(({"inlineData": sound}, AUDIO_TOKENS))
        return Spoken(parts=tuple(parts), thoughts=thoughts, finish="STOP", text="", sounds=1)
    text, finish = _text(call, config, chance, left)
    parts += [
        ({"text": piece}, answers.count_tokens(piece)) for piece in answers.pieces(text, chance)
    ]
    parts = _adjusted(parts, answers.count_tokens(text))
    if "IMAGE" in wanted:
        parts.append(({"inlineData": {"mimeType": "image/png", "data": PNG}}, IMAGE_TOKENS))
    if able.is_third and thoughts:
        parts.append(({"text": "", "thoughtSignature": sign(seed)}, 0))
    return Spoken(
        parts=tuple(parts),
        thoughts=thoughts,
        finish=finish,
        text=text,
        grounding=_grounding(text, chance) if _searches(body) else None,
        images="IMAGE" in wanted,
    )


def sign(seed: bytes) -> str:
    """A thought signature of this service."""
    return base64.b64encode(SIGNATURE + seed.hex().encode()).decode()


def _adjusted(
    parts: list[tuple[dict[str, Any], int]], tokens: int
) -> list[tuple[dict[str, Any], int]]:
    """Pieces round up their tokens; together they have those of the whole text."""
    surplus = sum(size for part, size in parts if not part.get("thought")) - tokens
    fitted: list[tuple[dict[str, Any], int]] = []
    for part, size in parts:
        less = 0 if part.get("thought") else min(surplus, size)
        surplus -= less
        fitted.append((part, size - less))
    return fitted


def _thinking_tokens(config: dict[str, Any], able: Abilities, chance: random.Random) -> int:
    if not able.thinks:
        return 0
    thinking = member(config, "thinkingConfig")
    budget = thinking.get("thinkingBudget")
    if budget is not None and budget >= 0:
        return min(budget, 96 + chance.randrange(32))
    tokens = REASONING_TOKENS[str(thinking.get("thinkingLevel") or "MEDIUM").lower()]
    return tokens + chance.randrange(tokens // 4 + 1)


def _searches(body: dict[str, Any]) -> bool:
    return any("googleSearch" in tool for tool in as_array(body.get("tools")) or [])


def _functions_to_call(call: Call, body: dict[str, Any]) -> list[dict[str, Any]]:
    declared: list[dict[str, Any]] = []
    for tool in as_array(body.get("tools")) or []:
        declared += as_array(tool.get("functionDeclarations")) or []
    config = member(member(body, "toolConfig"), "functionCallingConfig")
    mode = config.get("mode") or "AUTO"
    is_answer = any("functionResponse" in part for part in body["contents"][-1]["parts"])
    if not declared or mode == "NONE" or (mode != "ANY" and is_answer):
        return []
    allowed: list[str] = config.get("allowedFunctionNames") or []
    if allowed:
        declared = [one for one in declared if one["name"] in allowed]
    return [declared[index % len(declared)] for index in range(call.behaviour.tool_calls)]


def _call(
    call: Call, called: list[dict[str, Any]], chance: random.Random, left: int, able: Abilities
) -> tuple[list[tuple[dict[str, Any], int]], str]:
    """Calls as far as the tokens reach, and the finish reason."""
    parts: list[tuple[dict[str, Any], int]] = []
    finish = "STOP"
    for number, function in enumerate(called):
        schema: Json = function.get("parametersJsonSchema") or _as_json_schema(
            member(function, "parameters") or {"type": "OBJECT"}
        )
        arguments = _instance(schema, chance)
        written = msgspec.json.encode(arguments).decode()
        tokens = answers.count_tokens(function["name"] + written)
        if tokens > left:
            finish = "MAX_TOKENS"
            break
        left -= tokens
        made: dict[str, Any] = {"name": function["name"], "args": arguments}
        if not arguments:
            # Without arguments the member is left out.
            del made["args"]
        if able.is_third and "tool_no_id" not in call.behaviour.forms:
            made["id"] = chance.randbytes(4).hex()
        part: dict[str, Any] = {"functionCall": made}
        if number == 0 and able.is_third:
            part["thoughtSignature"] = sign(chance.randbytes(8))
        parts.append((part, tokens))
    return parts, finish


def _text(call: Call, config: dict[str, Any], chance: random.Random, left: int) -> tuple[str, str]:
    """The text and the finish reason, within the tokens that are left."""
    if call.behaviour.text is not None:
        text = call.behaviour.text
    elif "responseJsonSchema" in config:
        text = msgspec.json.encode(_instance(config["responseJsonSchema"], chance)).decode()
    elif "responseSchema" in config:
        value = _instance(_as_json_schema(config["responseSchema"]), chance)
        text = msgspec.json.encode(value).decode()
    elif config.get("responseMimeType") == "application/json":
        text = msgspec.json.encode({"answer": answers.word(chance)}).decode()
    else:
        tokens = call.behaviour.tokens
        text = answers.prose(chance, 24 + chance.randrange(72) if tokens is None else tokens)
    stops = [text.find(stop) for stop in as_array(config.get("stopSequences")) or []]
    if any(at >= 0 for at in stops):
        text = text[: min(at for at in stops if at >= 0)]
    if answers.count_tokens(text) > left:
        return answers.cut(text, left), "MAX_TOKENS"
    return text, "STOP"


def _as_json_schema(node: dict[str, Any]) -> dict[str, Any]:
    """A `Schema` message as the JSON Schema that it means."""
    written: dict[str, Any] = {}
    for name, value in node.items():
        if name == "type":
            kind = str(value).lower()
            written[name] = [kind, "null"] if node.get("nullable") else kind
        elif name == "properties":
            written[name] = {key: _as_json_schema(one) for key, one in value.items()}
        elif name == "items":
            written[name] = _as_json_schema(value)
        elif name == "anyOf":
            written[name] = [_as_json_schema(one) for one in value]
        else:
            written[name] = value
    return written


def _instance(schema: Json, chance: random.Random) -> Json:
    try:
        return instance(schema, lambda: answers.word(chance))
    except (SchemaError, TypeError, AttributeError, KeyError, ValueError) as exc:
        raise gemini_errors.invalid(f"Invalid schema: {exc}.") from exc


def _grounding(text: str, chance: random.Random) -> dict[str, Any]:
    """Sources for two stretches of the text; places are counted in bytes."""
    words = text.split(" ")
    cut = max(1, len(words) // 2)
    first = " ".join(words[:cut])
    end, whole = len(first.encode()), len(text.encode())
    supports: list[dict[str, Any]] = [
        # A zero is left out, as proto3's JSON does.
        {"segment": {"endIndex": end, "text": first}, "groundingChunkIndices": [0]},
    ]
    if whole > end:
        rest = {"startIndex": end, "endIndex": whole, "text": text[len(first) :]}
        supports.append({"segment": rest, "groundingChunkIndices": [1, 0]})
    return {
        "webSearchQueries": [f"{answers.word(chance)} {answers.word(chance)}" for _ in range(2)],
        "searchEntryPoint": {"renderedContent": "<div></div>"},
        "groundingChunks": [{"web": {"uri": uri, "title": uri.split("/")[2]}} for uri in _SOURCES],
        "groundingSupports": supports,
    }
