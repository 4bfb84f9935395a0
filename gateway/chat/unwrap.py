"""Takes apart the wrapped unions of one published API: ``{"OfString": "x"}`` means ``"x"``.

Its page was generated from Go types whose unions are structs with one field per variant. Clients
made from that page send the wrapped form, others the plain one, so both are read.
"""

import re
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from gateway.domain.errors import InvalidRequestError

Members = dict[str, Raw]
_Path = str
_Step = Callable[[Raw, _Path], Raw]

_MEMBERS = msgspec.json.Decoder(Members)
_ITEMS = msgspec.json.Decoder(list[Raw])
_ENCODER = msgspec.json.Encoder()
_NULL = Raw(b"null")
_MARK = b'"Of'
# Inside a text a quote is escaped, so that "Of course" is not taken for a variant.
_VARIANT = re.compile(rb'[{,]\s*"Of[A-Z]')

_IMPLIED: Mapping[str, tuple[str, bytes]] = {
    "OfText": ("type", b'"text"'),
    "OfRefusal": ("type", b'"refusal"'),
    "OfImageURL": ("type", b'"image_url"'),
    "OfInputAudio": ("type", b'"input_audio"'),
    "OfFile": ("type", b'"file"'),
    "OfJSONObject": ("type", b'"json_object"'),
    "OfJSONSchema": ("type", b'"json_schema"'),
    "OfAllowedTools": ("type", b'"allowed_tools"'),
    "OfCustomToolChoice": ("type", b'"custom"'),
    "OfFunctionToolChoice": ("type", b'"function"'),
    "OfFunction": ("type", b'"function"'),
    "OfCustom": ("type", b'"custom"'),
    "OfGrammar": ("type", b'"grammar"'),
}
"""A variant's constant member, which its Go type sends even when nobody set it."""

_ROLES: Mapping[str, tuple[str, bytes]] = {
    f"Of{role.capitalize()}": ("role", b'"%b"' % role.encode())
    for role in ("developer", "system", "user", "assistant", "tool", "function")
}


def has_unions(body: bytes) -> bool:
    """Whether there may be something to unwrap; a no is certain."""
    return _MARK in body and _VARIANT.search(body) is not None


def unwrap(members: Members) -> Members:
    """The members with every union of the published positions in its plain form.

    Raises:
        InvalidRequestError: a union has two variants at once.
    """
    plain = dict(members)
    for name, step in _POSITIONS.items():
        raw = plain.get(name)
        if raw is not None and _MARK in bytes(raw):
            plain[name] = step(raw, name)
    return plain


def _variant(raw: Raw, path: _Path, implied: Mapping[str, tuple[str, bytes]] = _IMPLIED) -> Raw:
    """The one variant that is set; anything that is not a wrapper stays as it is."""
    members = _object(raw)
    if not members or not all(name.startswith("Of") for name in members):
        return raw
    chosen = [name for name, value in members.items() if value != _NULL]
    if len(chosen) > 1:
        raise InvalidRequestError(
            f"`{path}` holds {' and '.join(f'`{name[:64]}`' for name in chosen[:3])} at once; send "
            "one of them.",
            param=path,
            code="contradiction",
        )
    if not chosen:
        return _NULL
    value = members[chosen[0]]
    constant = implied.get(chosen[0])
    inner = _object(value)
    if constant is None or inner is None or inner.get(constant[0], _NULL) != _NULL:
        return value
    return _encode({constant[0]: Raw(constant[1])} | _without(inner, constant[0]))


def _without(members: Members, name: str) -> Members:
    return {key: value for key, value in members.items() if key != name}


def _object(raw: Raw) -> Members | None:
    text = bytes(raw)
    if text[:1] != b"{":
        return None
    return _MEMBERS.decode(text)


def _encode(value: Members | list[Raw]) -> Raw:
    return Raw(_ENCODER.encode(value))


def _each(step: _Step) -> _Step:
    """Applies a step to every item of a list."""

    def apply(raw: Raw, path: _Path) -> Raw:
        if bytes(raw)[:1] != b"[":
            return raw
        items = _ITEMS.decode(raw)
        return _encode([step(item, f"{path}.{number}") for number, item in enumerate(items)])

    return apply


def _inside(**steps: _Step) -> _Step:
    """Applies steps to members of an object."""

    def apply(raw: Raw, path: _Path) -> Raw:
        members = _object(raw)
        if members is None:
            return raw
        for name, step in steps.items():
            value = members.get(name)
            if value is not None and _MARK in bytes(value):
                members[name] = step(value, f"{path}.{name}")
        return _encode(members)

    return apply


def _then(first: _Step, second: _Step) -> _Step:
    return lambda raw, path: second(first(raw, path), path)


def _message(raw: Raw, path: _Path) -> Raw:
    return _variant(raw, path, _ROLES)


_CONTENT = _then(_variant, _each(_variant))
_POSITIONS: Mapping[str, _Step] = {
    "stop": _variant,
    "response_format": _variant,
    "tool_choice": _then(_variant, _inside(allowed_tools=_inside(tools=_each(_variant)))),
    "tools": _each(_then(_variant, _inside(custom=_inside(format=_variant)))),
    "function_call": _variant,
    "prediction": _inside(content=_CONTENT),
    "messages": _each(
        _then(
            _message,
            _inside(content=_CONTENT, tool_calls=_each(_variant), function_call=_variant),
        )
    ),
}
"""Where the page has unions, and how far down."""
