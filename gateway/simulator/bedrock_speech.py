"""What a model behind the simulated Converse says to a request, before it is written down."""

import base64
import random
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.simulator import answers
from gateway.simulator.bedrock_errors import context_exceeded, invalid
from gateway.simulator.bedrock_shapes import inner
from gateway.simulator.json_values import Json
from gateway.simulator.schema import SchemaError, instance
from gateway.simulator.wire import Bill, Call

DEFAULT_LIMIT_TOKENS = 4096
LEAST_CACHED_TOKENS = 1024
_EFFORTS = {"low": 32, "medium": 96, "high": 256, "max": 512}
_MEDIA_TOKENS = {
    "image": answers.IMAGE_TOKENS,
    "document": answers.FILE_TOKENS,
    "video": answers.FILE_TOKENS,
    "audio": answers.AUDIO_TOKENS,
}


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: reasoning, text, calls (id, name, arguments as JSON), and why it ended."""

    reasoning: str
    text: str
    calls: tuple[tuple[str, str, str], ...]
    stop_reason: str
    seed: bytes

    @property
    def tokens(self) -> int:
        called = sum(answers.count_tokens(name + arguments) for _, name, arguments in self.calls)
        return self.reasoning_tokens + answers.count_tokens(self.text) + called

    @property
    def reasoning_tokens(self) -> int:
        return answers.count_tokens(self.reasoning)


def speak(call: Call) -> tuple[Speech, Bill]:
    """The answer and what it costs. Raises `RefusedError` when the prompt is too long."""
    prompts = _Prompt(call.body)
    if call.offer is not None and prompts.tokens > call.offer.context_tokens:
        raise context_exceeded()
    seed = blake2b(b"".join(prompts.parts), digest_size=8).digest()
    speech = _speak(call, seed)
    cached = written = 0
    if prompts.cached_bytes >= LEAST_CACHED_TOKENS * answers.TOKEN_BYTES:
        prefix = b"".join(prompts.parts)[: prompts.cached_bytes]
        cached = call.cache.look_up(call.model, prefix)
        written = answers.tokens_of_bytes(len(prefix)) - cached
    if call.behaviour.cached is not None:
        cached = call.behaviour.cached
    bill = Bill(
        prompt_tokens=max(prompts.tokens, cached + written),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written if prompts.ttl == "1h" else 0,
        completion_tokens=speech.tokens,
        reasoning_tokens=speech.reasoning_tokens,
    )
    return speech, bill


class _Prompt:
    """The bytes that a prompt is counted and cached by, in the order tools, system, messages."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.parts: list[bytes] = []
        self.cached_bytes = 0
        """Up to the last cache point."""
        self.ttl = "5m"
        self._size = 0
        self._extra_tokens = 0
        for tool in inner(body, "toolConfig").get("tools") or ():
            self._add(tool)
        for block in body.get("system") or ():
            self._add(block)
        for message in body["messages"]:
            self._write(f"\n{message['role']}: ".encode())
            for block in message["content"]:
                self._add(block)

    @property
    def tokens(self) -> int:
        return answers.tokens_of_bytes(self._size) + self._extra_tokens

    def _add(self, block: dict[str, Any]) -> None:
        if "cachePoint" in block:
            self.cached_bytes = self._size
            self.ttl = block["cachePoint"].get("ttl", "5m")
            return
        for kind, tokens in _MEDIA_TOKENS.items():
            if kind in block:
                self._extra_tokens += tokens
                return
        text = block.get("text")
        self._write(text.encode() if isinstance(text, str) else msgspec.json.encode(block))

    def _write(self, data: bytes) -> None:
        self.parts.append(data)
        self._size += len(data)


def _speak(call: Call, seed: bytes) -> Speech:
    chance = answers.seeded(seed)
    config = inner(call.body, "inferenceConfig")
    default = call.offer.max_output_tokens if call.offer is not None else DEFAULT_LIMIT_TOKENS
    limit = config.get("maxTokens") or default
    reasoning = answers.prose(chance, min(limit, _reasoning_tokens(call, chance)))
    left = limit - answers.count_tokens(reasoning)
    called = _tools_to_call(call)
    if called:
        return _speak_calls(reasoning, called, chance, left, seed)
    text = call.behaviour.text
    if text is None:
        text = _structured(call, chance)
    if text is None:
        tokens = call.behaviour.tokens
        text = answers.prose(chance, 24 + chance.randrange(72) if tokens is None else tokens)
    stop_reason = "end_turn"
    found = [at for stop in config.get("stopSequences") or () if (at := text.find(stop)) >= 0]
    if found:
        text, stop_reason = text[: min(found)], "stop_sequence"
    if answers.count_tokens(text) > left:
        text, stop_reason = answers.cut(text, left), "max_tokens"
    return Speech(reasoning=reasoning, text=text, calls=(), stop_reason=stop_reason, seed=seed)


def _reasoning_tokens(call: Call, chance: random.Random) -> int:
    """Tokens to think; 0 unless the request asks for it, or the model always does."""
    fields = inner(call.body, "additionalModelRequestFields")
    thinking = inner(fields, "thinking")
    nova = inner(fields, "reasoningConfig")
    if thinking.get("type") == "enabled":
        return min(int(thinking["budget_tokens"]), 96 + chance.randrange(32))
    if thinking.get("type") == "adaptive":
        effort = inner(fields, "output_config").get("effort", "high")
    elif nova.get("type") == "enabled":
        effort = nova["maxReasoningEffort"]
    elif "reasoning_effort" in fields or "gpt-oss" in call.model or "deepseek" in call.model:
        effort = fields.get("reasoning_effort", "medium")
    else:
        return 0
    tokens = _EFFORTS.get(effort, 96)
    return tokens + chance.randrange(tokens // 4 + 1)


def _tools_to_call(call: Call) -> list[dict[str, Any]]:
    config = inner(call.body, "toolConfig")
    tools: list[dict[str, Any]] = [
        tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool
    ]
    choice = inner(config, "toolChoice")
    is_forced = "any" in choice or "tool" in choice
    last = call.body["messages"][-1]
    is_answered = any("toolResult" in block for block in last["content"])
    if not tools or (not is_forced and (is_answered or last["role"] == "assistant")):
        return []
    if "tool" in choice:
        tools = [tool for tool in tools if tool["name"] == choice["tool"]["name"]]
    return [tools[index % len(tools)] for index in range(call.behaviour.tool_calls)]


def _speak_calls(
    reasoning: str, called: list[dict[str, Any]], chance: random.Random, left: int, seed: bytes
) -> Speech:
    calls: list[tuple[str, str, str]] = []
    stop_reason = "tool_use"
    for tool in called:
        schema: Json = tool["inputSchema"]["json"]
        arguments = msgspec.json.encode(_instance(schema, chance)).decode()
        name = tool["name"]
        if answers.count_tokens(name + arguments) > left:
            arguments = answers.cut(name + arguments, max(left, 0))[len(name) :]
            stop_reason = "max_tokens"
        id_ = base64.urlsafe_b64encode(chance.randbytes(16)).decode().rstrip("=")
        calls.append((f"tooluse_{id_}", name, arguments))
        left -= answers.count_tokens(name + arguments)
        if stop_reason == "max_tokens":
            break
    return Speech(
        reasoning=reasoning, text="", calls=tuple(calls), stop_reason=stop_reason, seed=seed
    )


def _structured(call: Call, chance: random.Random) -> str | None:
    form = inner(inner(call.body, "outputConfig"), "textFormat")
    if not form:
        return None
    schema: Json = msgspec.json.decode(form["structure"]["jsonSchema"]["schema"])
    return msgspec.json.encode(_instance(schema, chance)).decode()


def _instance(schema: Json, chance: random.Random) -> Json:
    try:
        return instance(schema, lambda: answers.word(chance))
    except (SchemaError, TypeError, AttributeError, KeyError, ValueError) as exc:
        raise invalid(f"The JSON schema is invalid: {exc}.") from exc
