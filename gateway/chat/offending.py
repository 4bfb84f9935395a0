"""What FastAPI's faults tell beside the message: the value that was wrong, and what is expected.

A prompt or a secret is never said again: only numbers, truth values and null, and the short texts
of members that hold words of the API's own.
"""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.chat.fields import BY_NAME
from gateway.domain.errors import InvalidRequestError

MOST_CHARACTERS = 64

_WRITTEN_BY_PEOPLE = frozenset(
    {
        "input",
        "messages",
        "metadata",
        "prediction",
        "prompt_cache_key",
        "provider_configs",
        "safety_identifier",
        "session_id",
        "stop",
        "user",
    }
)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ARRAY = msgspec.json.Decoder(list[Raw])
_SCALAR = msgspec.json.Decoder(str | int | float | bool | None)


def fault_of(error: InvalidRequestError, body: bytes) -> dict[str, Any]:
    """``input`` and ``ctx`` of a fault, each only where there is something to say.

    Args:
        error: the refusal; its ``param`` says where the value stands.
        body: the request as it came.
    """
    if error.code == "json_invalid":
        return {"input": {}, "ctx": {"error": error.message}}
    param = error.param
    if param is None or error.code == "not_allowed":
        return {}
    fault: dict[str, Any] = {}
    field = BY_NAME.get(param)
    try:
        value = _SCALAR.decode(_value_at(body, param.split(".")))
    except (msgspec.DecodeError, LookupError, RecursionError):
        # Not a scalar, or a place that the caller wrote in another form.
        pass
    else:
        if value is None or _may_be_repeated(value, param):
            fault["input"] = value
    if field is not None:
        fault["ctx"] = {"expected": field.accepts}
    return fault


def _may_be_repeated(value: object, param: str) -> bool:
    if param.partition(".")[0] in _WRITTEN_BY_PEOPLE:
        return False
    return not isinstance(value, str) or (param in BY_NAME and len(value) <= MOST_CHARACTERS)


def _value_at(body: bytes, steps: list[str]) -> Raw:
    """The JSON at a path; what is absent is null. Raises `LookupError` for a list's end."""
    value = Raw(body)
    for step in steps:
        if step.isdecimal():
            value = _ARRAY.decode(value)[int(step)]
        else:
            value = _OBJECT.decode(value).get(step, Raw(b"null"))
    return value
