"""OpenAI's embeddings: refuses what is refused there, and gives vectors that depend on the text.

Limits as OpenAI's API reference gives them
(https://platform.openai.com/docs/api-reference/embeddings/create).
"""

import base64
import math
import struct
from typing import Any, NoReturn

import msgspec

from gateway.simulator import answers
from gateway.simulator.json_values import as_array
from gateway.simulator.openai_requests import check_model
from gateway.simulator.wire import Answer, Bill, Call, RefusedError

MOST_INPUTS = 2_048
MOST_TOKENS = 8_192
MOST_TOKENS_IN_ALL = 300_000
# By the beginning of the name, as none is published in the API; any other model takes as many.
_SIZES = {
    "text-embedding-3-large": 3_072,
    "text-embedding-3-small": 1_536,
    "text-embedding-ada-002": 1_536,
}
_DEFAULT_SIZE = 1_536
_LARGEST_SIZE = 4_096
_FIXED = "text-embedding-ada-002"
_MEMBERS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def embed(call: Call) -> Answer:
    """Vectors for a request that OpenAI would accept. Raises `RefusedError`."""
    check_model(call)
    _check_names(call.body)
    inputs = _inputs(call.body.get("input"))
    counts = [answers.count_tokens(one) if isinstance(one, str) else len(one) for one in inputs]
    _check_counts(counts)
    size = _size(call)
    is_base64 = _encoding(call.body) == "base64"
    user = call.body.get("user")
    if user is not None and not isinstance(user, str):
        _refuse("Invalid type for 'user': expected a string.", "invalid_type", "user")
    rows: list[dict[str, Any]] = []
    for index, one in enumerate(inputs):
        vector = _vector(msgspec.json.encode(one), size)
        packed = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        rows.append(
            {"object": "embedding", "index": index, "embedding": packed if is_base64 else vector}
        )
    tokens = sum(counts)
    whole: dict[str, Any] = {"object": "list", "data": rows, "model": call.model}
    if call.behaviour.usage_fault != "usage_missing":
        whole["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Answer(body=msgspec.json.encode(whole), frames=None, bill=Bill(prompt_tokens=tokens))


def _check_names(body: dict[str, Any]) -> None:
    for name in body:
        if name not in _MEMBERS:
            _refuse(f"Unknown parameter: '{name}'.", "unknown_parameter", name)


def _inputs(given: object) -> list[Any]:
    """Each a text or a list of token numbers."""
    if given is None:
        _refuse("Missing required parameter: 'input'.", "missing_required_parameter", "input")
    many = as_array(given) or []
    if isinstance(given, str):
        inputs: list[Any] = [given]
    elif many and all(_is_token(one) for one in many):
        inputs = [many]
    elif many and (
        all(isinstance(one, str) for one in many) or all(_is_tokens(one) for one in many)
    ):
        inputs = many
    else:
        _refuse("'$.input' is invalid. Please check the API reference.", None, "input")
    if len(inputs) > MOST_INPUTS:
        _refuse(f"'$.input' is invalid: at most {MOST_INPUTS} inputs.", None, "input")
    if not all(inputs):
        _refuse("'$.input' is invalid: input cannot be an empty string.", None, "input")
    return inputs


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_tokens(value: object) -> bool:
    many = as_array(value)
    return bool(many) and all(_is_token(one) for one in many or ())


def _check_counts(counts: list[int]) -> None:
    longest, total = max(counts), sum(counts)
    if longest > MOST_TOKENS:
        _refuse(
            f"This model's maximum context length is {MOST_TOKENS} tokens, however you requested "
            f"{longest} tokens ({longest} in your prompt; 0 for the completion). Please reduce "
            "your prompt; or completion length.",
            "context_length_exceeded",
            "input",
        )
    if total > MOST_TOKENS_IN_ALL:
        _refuse(
            f"Requested {total} tokens, max {MOST_TOKENS_IN_ALL} tokens per request",
            "max_tokens_per_request",
            "input",
        )


def _size(call: Call) -> int:
    largest = next((size for name, size in _SIZES.items() if call.model.startswith(name)), None)
    asked = call.body.get("dimensions")
    if asked is None:
        return largest or _DEFAULT_SIZE
    if call.model.startswith(_FIXED):
        _refuse("This model does not support specifying dimensions.", None, "dimensions")
    if isinstance(asked, bool) or not isinstance(asked, int):
        _refuse("Invalid type for 'dimensions': expected an integer.", "invalid_type", "dimensions")
    if not 1 <= asked <= (largest or _LARGEST_SIZE):
        _refuse(
            f"Invalid value for 'dimensions' = {asked}. Must be from 1 to "
            f"{largest or _LARGEST_SIZE}.",
            None,
            "dimensions",
        )
    return asked


def _encoding(body: dict[str, Any]) -> str | None:
    asked = body.get("encoding_format")
    if asked not in (None, "float", "base64"):
        _refuse(
            "Invalid value for 'encoding_format': must be 'float' or 'base64'.",
            "invalid_value",
            "encoding_format",
        )
    return asked


def _refuse(message: str, code: str | None, param: str) -> NoReturn:
    raise RefusedError(400, message, code=code, param=param)


def _vector(seed: bytes, size: int) -> list[float]:
    chance = answers.seeded(seed)
    raw = [chance.gauss(0, 1) for _ in range(size)]
    length = math.sqrt(sum(value * value for value in raw))
    return [round(value / length, 8) for value in raw]
