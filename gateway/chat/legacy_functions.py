"""The older form of tools, ``functions`` and ``function_call``: into tools, and back again.

Endpoints only ever see tools. Whoever asked in the older form is answered in it.
"""

import msgspec
from msgspec import Raw

from gateway.domain.errors import InvalidRequestError

Members = dict[str, Raw]

_OBJECTS = msgspec.json.Decoder(list[Members])
_MEMBERS = msgspec.json.Decoder(Members)
_ITEMS = msgspec.json.Decoder(list[Raw])
_ENCODER = msgspec.json.Encoder()
_NULL = Raw(b"null")
_FUNCTION_ROLE = Raw(b'"function"')
_TOOL_ROLE = Raw(b'"tool"')
_FUNCTION_TYPE = Raw(b'"function"')
_FUNCTION_CALL = Raw(b'"function_call"')
_NEWER_FORM = {"functions": "tools", "function_call": "tool_choice"}


def to_tools(members: Members) -> Members:
    """The members of a checked request, with ``tools`` and ``tool_choice`` for the older form.

    Raises:
        InvalidRequestError: both forms are there.
    """
    for older, newer in _NEWER_FORM.items():
        if older in members and newer in members:
            raise InvalidRequestError(
                f"`{older}` and `{newer}` are two forms of the same thing; send one of them.",
                param=older,
                code="contradiction",
            )
    changed = {name: raw for name, raw in members.items() if name not in _NEWER_FORM}
    functions = members.get("functions")
    if functions is not None:
        changed["tools"] = _encode(
            [{"type": _FUNCTION_TYPE, "function": raw} for raw in _ITEMS.decode(functions)]
        )
    choice = members.get("function_call")
    if choice is not None:
        is_word = bytes(choice)[:1] == b'"'
        changed["tool_choice"] = (
            choice if is_word else _encode({"type": _FUNCTION_TYPE, "function": choice})
        )
    return changed


def to_tool_messages(messages: Raw) -> Raw:
    """Messages with calls as ``tool_calls`` and their answers in the role ``tool``.

    The older form has no ids: an answer belongs to the latest call of its name. The ids made here
    depend on nothing but the place of a message, so that prompts stay cacheable.
    """
    decoded = _OBJECTS.decode(messages)
    ids: dict[bytes, Raw] = {}
    for number, message in enumerate(decoded):
        new_id = Raw(b'"call_%d"' % number)
        call = message.get("function_call", _NULL)
        if call != _NULL and message.get("tool_calls", _NULL) == _NULL:
            message["tool_calls"] = _encode(
                [{"id": new_id, "type": _FUNCTION_TYPE, "function": call}]
            )
            ids[_called_name(call)] = new_id
        message.pop("function_call", None)
        if message.get("role") == _FUNCTION_ROLE:
            message["role"] = _TOOL_ROLE
            name = bytes(message.pop("name", _NULL))
            message["tool_call_id"] = ids.get(name, new_id)
            if message.get("content", _NULL) == _NULL:
                message["content"] = Raw(b'""')
    return _encode(decoded)


def _called_name(call: Raw) -> bytes:
    if bytes(call)[:1] != b"{":
        return b""
    return bytes(_MEMBERS.decode(call).get("name", _NULL))


def to_legacy_choices(choices: bytes) -> bytes:
    """Choices of an answer or of a chunk, with the first call as ``function_call``.

    The older form holds one call; if there are more, they stay in ``tool_calls``, so that nothing
    that was paid for is lost. Choices without calls come back byte for byte.
    """
    if b"tool_calls" not in choices:
        return choices
    decoded = _OBJECTS.decode(choices)
    for choice in decoded:
        if choice.get("finish_reason") == Raw(b'"tool_calls"'):
            choice["finish_reason"] = _FUNCTION_CALL
        for name in ("message", "delta"):
            raw = choice.get(name, _NULL)
            if raw != _NULL:
                choice[name] = _said(raw)
    return _ENCODER.encode(decoded)


def _said(raw: Raw) -> Raw:
    members = _MEMBERS.decode(raw)
    calls = members.get("tool_calls", _NULL)
    if calls == _NULL:
        return raw
    left: list[Members] = []
    for number, call in enumerate(_OBJECTS.decode(calls)):
        function = call.get("function", _NULL)
        is_first = call.get("index", Raw(b"%d" % number)) == Raw(b"0")
        if is_first and function != _NULL:
            members["function_call"] = function
        else:
            left.append(call)
    if left:
        members["tool_calls"] = _encode(left)
    else:
        del members["tool_calls"]
    return _encode(members)


def _encode(value: Members | list[Members] | list[Raw]) -> Raw:
    return Raw(_ENCODER.encode(value))
