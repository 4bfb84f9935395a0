"""What OpenAI refuses in a request, refused here in the same words.

A lenient simulator would let a wrong adapter pass its tests.
"""

import re
from typing import Any, NoReturn, cast

from gateway.simulator.json_values import as_array, as_object
from gateway.simulator.openai_errors import unknown_model
from gateway.simulator.wire import Call, RefusedError

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
# OpenAI's own reasoning models, which take fewer parameters; by name, as no list is published.
STRICT_REASONING = re.compile(r"^(o[134]|gpt-5)(?!.*chat)")
_REASONING = re.compile(r"^(o[134]|gpt-5)(?!.*chat)|reason|think|-r1\b")

# A gateway's own words; upstream they are unknown, and a leak of them must be seen.
NOT_OURS = frozenset(
    {
        "allow_fallbacks",
        "fallbacks",
        "free_models_only",
        "max_price",
        "models",
        "no_reasoning",
        "plugins",
        "provider",
        "provider_configs",
        "route",
        "session_id",
        "transforms",
    }
)

_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_COUNTS: dict[str, tuple[int, int]] = {
    "max_tokens": (1, 10_000_000),
    "max_completion_tokens": (1, 10_000_000),
    "n": (1, 128),
    "top_logprobs": (0, 20),
    "seed": (-(2**63), 2**63 - 1),
}
_BOOLEANS = ("stream", "logprobs", "parallel_tool_calls", "store")
_OBJECTS = ("stream_options", "response_format", "logit_bias", "metadata")
_ARRAYS = ("messages", "tools", "modalities")


def is_reasoning_model(call: Call) -> bool:
    """Whether the model thinks before it answers."""
    if call.offer is not None:
        return "reasoning" in call.offer.capabilities
    return _REASONING.search(call.model) is not None


def check_chat(call: Call) -> None:
    """Raise `RefusedError` for whatever OpenAI would refuse."""
    check_model(call)
    body = call.body
    for name in body:
        if name in NOT_OURS:
            raise RefusedError(
                400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name
            )
    _check_types(body)
    _check_messages(body)
    _check_tools(call)
    _check_combinations(body)
    _check_offer(call)
    if call.offer is None and STRICT_REASONING.search(call.model):
        _check_reasoning(body)


def check_model(call: Call) -> None:
    """Raise `RefusedError` for a model that the provider does not serve."""
    if not call.model:
        raise RefusedError(400, "you must provide a model parameter")
    # The bench model is served everywhere; see `bench.py`.
    is_known = call.provider is None or call.offer is not None or call.model.startswith("bench")
    if not is_known:
        raise unknown_model(call.asked_model)


def _check_types(body: dict[str, Any]) -> None:
    if body.get("messages") is None:
        _missing("messages")
    for name, (least, most) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            _invalid_type(name, "a decimal", value)
        if not least <= value <= most:
            _out_of_range(name, value, least, most)
    for name, (least, most) in _COUNTS.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            _invalid_type(name, "an integer", value)
        if not least <= value <= most:
            _out_of_range(name, value, least, most)
    for names, kind, expected in (
        (_BOOLEANS, bool, "a boolean"),
        (_OBJECTS, dict, "an object"),
        (_ARRAYS, list, "an array of objects"),
    ):
        for name in names:
            if body.get(name) is not None and not isinstance(body[name], kind):
                _invalid_type(name, expected, body[name])
    stop = body.get("stop")
    many = as_array(stop)
    if stop is not None and not isinstance(stop, str):
        if many is None or not all(isinstance(one, str) for one in many):
            _invalid_type("stop", "a string or an array of strings", stop)
        if len(many) > 4:  # noqa: PLR2004 -- OpenAI's limit
            message = (
                "Invalid 'stop': array too long. Expected an array with maximum length 4, "
                f"but got an array with length {len(many)} instead."
            )
            raise RefusedError(400, message, code="array_above_max_length", param="stop")


def _check_messages(body: dict[str, Any]) -> None:
    messages = body["messages"]
    if not messages:
        message = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead."
        )
        raise RefusedError(400, message, code="empty_array", param="messages")
    waiting: list[str] = []
    for index, raw in enumerate(messages):
        at = f"messages[{index}]"
        message = as_object(raw)
        if message is None:
            _invalid_type(at, "an object", raw)
        role = message.get("role")
        if role is None:
            _missing(f"{at}.role")
        if role not in ROLES:
            known = ", ".join(f"'{one}'" for one in ROLES[:-1])
            text = f"Invalid value: '{role}'. Supported values are: {known}, and '{ROLES[-1]}'."
            raise RefusedError(400, text, code="invalid_value", param=f"{at}.role")
        if role == "tool":
            waiting = _answered(message, waiting, at)
        elif waiting:
            _unanswered(waiting, at)
        _check_content(message, role, at)
        calls = as_array(message.get("tool_calls"))
        if calls is not None and role == "assistant":
            waiting = _asked(calls, at)
    if waiting:
        _unanswered(waiting, f"messages[{len(messages) - 1}]")


def _asked(calls: list[Any], at: str) -> list[str]:
    if not calls:
        text = f"Invalid '{at}.tool_calls': empty array. Expected an array with minimum length 1."
        raise RefusedError(400, text, code="empty_array", param=f"{at}.tool_calls")
    ids: list[str] = []
    for index, raw in enumerate(calls):
        call = as_object(raw) or {}
        function = as_object(call.get("function")) or {}
        where = f"{at}.tool_calls[{index}]"
        if not isinstance(call.get("id"), str):
            _missing(f"{where}.id")
        if call.get("type") != "function":
            _missing(f"{where}.type")
        if not isinstance(function.get("name"), str):
            _missing(f"{where}.function.name")
        if not isinstance(function.get("arguments"), str):
            _invalid_type(f"{where}.function.arguments", "a string", function.get("arguments"))
        ids.append(call["id"])
    return ids


def _answered(message: dict[str, Any], waiting: list[str], at: str) -> list[str]:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        _missing(f"{at}.tool_call_id")
    if call_id not in waiting:
        # The spelling is OpenAI's.
        text = (
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
            "message with 'tool_calls'."
        )
        raise RefusedError(400, text, param=f"{at}.role")
    return [one for one in waiting if one != call_id]


def _unanswered(waiting: list[str], at: str) -> NoReturn:
    text = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        + ", ".join(waiting)
    )
    raise RefusedError(400, text, param=f"{at}.role")


def _check_content(message: dict[str, Any], role: str, at: str) -> None:
    content = message.get("content")
    if content is None:
        if role == "assistant":
            return
        text = f"Invalid value for 'content': expected a string, got null. ({at}.content)"
        raise RefusedError(400, text, param=f"{at}.content")
    parts = as_array(content)
    if parts is None:
        if not isinstance(content, str):
            _invalid_type(f"{at}.content", "a string or an array of objects", content)
        return
    known = {
        "user": ("text", "image_url", "input_audio", "file"),
        "assistant": ("text", "refusal"),
    }.get(role, ("text",))
    for index, raw in enumerate(parts):
        where = f"{at}.content[{index}]"
        part = as_object(raw)
        if part is None:
            _invalid_type(where, "an object", raw)
        kind = part.get("type")
        if kind not in known:
            names = ", ".join(f"'{one}'" for one in known)
            text = f"Invalid value: '{kind}'. Supported values are: {names}."
            raise RefusedError(400, text, code="invalid_value", param=f"{where}.type")
        expected = str if kind in ("text", "refusal") else dict
        if not isinstance(part.get(cast(str, kind)), expected):
            _missing(f"{where}.{kind}")
        if kind == "image_url" and not isinstance(part["image_url"].get("url"), str):
            _missing(f"{where}.image_url.url")


def _check_tools(call: Call) -> None:
    tools = as_array(call.body.get("tools"))
    choice = call.body.get("tool_choice")
    if tools is None:
        if choice not in (None, "none"):
            text = (
                "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
                "specified."
            )
            raise RefusedError(400, text, param="tool_choice")
        return
    if not tools:
        text = "Invalid 'tools': empty array. Expected an array with minimum length 1."
        raise RefusedError(400, text, code="empty_array", param="tools")
    names: list[str] = []
    for index, raw in enumerate(tools):
        function = as_object((as_object(raw) or {}).get("function"))
        name = function.get("name") if function is not None else None
        if (as_object(raw) or {}).get("type") != "function" or function is None:
            _missing(f"tools[{index}].function")
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            where = f"tools[{index}].function.name"
            text = f"Invalid '{where}': expected a string that matches '^[a-zA-Z0-9_-]+$'."
            raise RefusedError(400, text, code="invalid_value", param=where)
        names.append(name)
    named = as_object(choice)
    if named is not None:
        wanted = (as_object(named.get("function")) or {}).get("name")
        if wanted not in names:
            text = f"Tool choice '{wanted}' not found in 'tools' parameter."
            raise RefusedError(400, text, param="tool_choice")
    elif choice not in (None, "none", "auto", "required"):
        text = f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'."
        raise RefusedError(400, text, code="invalid_value", param="tool_choice")


def _check_combinations(body: dict[str, Any]) -> None:
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        text = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise RefusedError(400, text, code="invalid_parameter_combination", param="max_tokens")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RefusedError(400, text, param="stream_options")
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        text = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise RefusedError(400, text, param="top_logprobs")
    if body.get("reasoning_effort") not in (None, *EFFORTS):
        known = ", ".join(f"'{one}'" for one in EFFORTS)
        text = f"Invalid value: '{body['reasoning_effort']}'. Supported values are: {known}."
        raise RefusedError(400, text, code="invalid_value", param="reasoning_effort")
    if "audio" in (body.get("modalities") or []):
        text = "This model does not support the requested output modality 'audio'."
        raise RefusedError(400, text, code="invalid_value", param="modalities")
    for name in ("functions", "function_call"):
        if body.get(name) is not None:
            text = f"Unsupported parameter: '{name}' is not supported with this model. Use 'tools'."
            raise RefusedError(400, text, code="unsupported_parameter", param=name)
    shape = as_object(body.get("response_format")) or {}
    kind = shape.get("type", "text")
    if kind not in ("text", "json_object", "json_schema"):
        text = (
            f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', "
            "and 'text'."
        )
        raise RefusedError(400, text, code="invalid_value", param="response_format.type")
    named = as_object(shape.get("json_schema"))
    if kind == "json_schema" and (named is None or not isinstance(named.get("name"), str)):
        _missing("response_format.json_schema" + ("" if named is None else ".name"))


def _check_offer(call: Call) -> None:
    if call.offer is None:
        return
    offered = call.offer.capabilities
    if call.body.get("tools") and "tools" not in offered:
        text = "Unsupported parameter: 'tools' is not supported with this model."
        raise RefusedError(400, text, code="unsupported_parameter", param="tools")
    shape = (as_object(call.body.get("response_format")) or {}).get("type")
    if shape == "json_schema" and "structured_outputs" not in offered:
        text = (
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with "
            "this model."
        )
        raise RefusedError(400, text, param="response_format")
    if "vision" in offered:
        return
    for message in call.body["messages"]:
        for part in as_array(message.get("content")) or []:
            if part.get("type") == "image_url":
                text = "Invalid content type. image_url is only supported by certain models."
                raise RefusedError(400, text, param="messages")


def _check_reasoning(body: dict[str, Any]) -> None:
    if body.get("max_tokens") is not None:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        raise RefusedError(400, text, code="unsupported_parameter", param="max_tokens")
    for name in ("temperature", "top_p"):
        if body.get(name) not in (None, 1):
            text = (
                f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                "Only the default (1) value is supported."
            )
            raise RefusedError(400, text, code="unsupported_value", param=name)
    for name in ("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "stop"):
        if body.get(name):
            text = f"Unsupported parameter: '{name}' is not supported with this model."
            raise RefusedError(400, text, code="unsupported_parameter", param=name)


def _missing(param: str) -> NoReturn:
    text = f"Missing required parameter: '{param}'."
    raise RefusedError(400, text, code="missing_required_parameter", param=param)


def _invalid_type(param: str, expected: str, value: object) -> NoReturn:
    names: dict[type[Any], str] = {
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        str: "a string",
        list: "an array",
        dict: "an object",
        type(None): "null",
    }
    got = names.get(type(value), "something else")
    text = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    raise RefusedError(400, text, code="invalid_type", param=param)


def _out_of_range(param: str, value: float, least: float, most: float) -> NoReturn:
    is_low = value < least
    bound, word = (least, "above or equal to") if is_low else (most, "below or equal to")
    kind = "integer" if isinstance(value, int) else "decimal"
    side = "below minimum" if is_low else "above maximum"
    code = f"{kind}_{side.replace(' ', '_')}_value"
    text = (
        f"Invalid '{param}': {kind} {side} value. Expected a value {word} {bound}, "
        f"but got {value} instead."
    )
    raise RefusedError(400, text, code=code, param=param)
