"""Routing preferences in both published forms: the ``provider`` object, and ``provider_…`` members.

The same wish in both forms is fine; two different ones are refused, naming both.
"""

import difflib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw, structs

from gateway.chat.preferences import MaxPrice, ProviderPreferences
from gateway.chat.routing_preferences import decode_preferences
from gateway.domain.errors import InvalidRequestError

PREFIX = "provider_"

_NESTED_OF_FLAT: Mapping[str, str] = {
    PREFIX + name: name
    for name in (
        "order",
        "only",
        "ignore",
        "sort",
        "quantizations",
        "data_collection",
        "zdr",
        "require_parameters",
        "enforce_distillable_text",
    )
}
_CAP_OF_FLAT: Mapping[str, str] = {
    f"{PREFIX}max_{part}_price": part for part in ("prompt", "completion", "request", "image")
}
_FIELD_OF_CAP = {
    "prompt": "prompt_usd_per_mtok",
    "completion": "completion_usd_per_mtok",
    "request": "request_usd",
    "image": "image_usd",
}
_SETS = frozenset({"only", "ignore", "quantizations"})
_ENCODER = msgspec.json.Encoder()
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_NULL = Raw(b"null")


def read_preferences(members: Mapping[str, Raw]) -> ProviderPreferences:
    """Preferences from the members of a body.

    Raises:
        InvalidRequestError: a member is unknown or wrong, or the two forms contradict each other.
    """
    flat = {name: raw for name, raw in members.items() if name.startswith(PREFIX) and raw != _NULL}
    nested = decode_preferences(members.get("provider"))
    if not flat:
        return _consistent(nested, members)
    sent = members.get("provider", _NULL)
    return _consistent(_merge(flat, _decode_flat(flat), _present(sent), nested), members)


def sent_flat(members: Mapping[str, Raw]) -> frozenset[str]:
    """Which preferences came as ``provider_…`` members; messages name them as they were sent."""
    names = [name for name in members if name.startswith(PREFIX) and members[name] != _NULL]
    return frozenset([_NESTED_OF_FLAT[name] for name in names if name in _NESTED_OF_FLAT])


def member_name(preference: str, flat: frozenset[str]) -> str:
    """What a preference is called in messages."""
    return f"{PREFIX}{preference}" if preference in flat else f"provider.{preference}"


def _consistent(wishes: ProviderPreferences, members: Mapping[str, Raw]) -> ProviderPreferences:
    """The same wishes, unless they name a provider to use and to ignore."""
    if wishes.ignore:
        for member in ("only", "order"):
            both = next((slug for slug in getattr(wishes, member) if slug in wishes.ignore), None)
            if both is not None:
                flat = sent_flat(members)
                ignored = member_name("ignore", flat)
                raise InvalidRequestError(
                    f"`{both}` stands in `{member_name(member, flat)}` and in `{ignored}`; take it "
                    "out of one of them.",
                    param=ignored,
                    code="contradictory_preferences",
                )
    return wishes


def _present(provider: Raw) -> Mapping[str, Raw]:
    """What the ``provider`` object says, its price caps side by side with the rest."""
    if provider == _NULL:
        return {}
    said = _MEMBERS.decode(provider)
    caps = said.pop("max_price", _NULL)
    if caps != _NULL:
        said |= {f"max_price.{part}": raw for part, raw in _MEMBERS.decode(caps).items()}
    return {name: raw for name, raw in said.items() if raw != _NULL}


def _decode_flat(flat: Mapping[str, Raw]) -> ProviderPreferences:
    nested: dict[str, Any] = {}
    caps: dict[str, Raw] = {}
    for name, raw in flat.items():
        if name in _NESTED_OF_FLAT:
            nested[_NESTED_OF_FLAT[name]] = raw
        elif name in _CAP_OF_FLAT:
            caps[_CAP_OF_FLAT[name]] = raw
        else:
            raise _unknown(name)
    if caps:
        nested["max_price"] = caps
    try:
        return decode_preferences(Raw(_ENCODER.encode(nested)))
    except InvalidRequestError as error:
        raise _renamed(error) from error


def _unknown(name: str) -> InvalidRequestError:
    known = (*_NESTED_OF_FLAT, *_CAP_OF_FLAT)
    nearest = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.5)
    hint = f"; did you mean `{nearest[0]}`?" if nearest else f"; known are {', '.join(known)}."
    return InvalidRequestError(
        f"`{name[:64]}` is not a routing preference{hint}",
        param=name[:64],
        code="unknown_preference",
    )


def _renamed(error: InvalidRequestError) -> InvalidRequestError:
    """The same complaint under the name that was sent."""
    param, message = error.param or "", error.message
    names = {f"provider.max_price.{part}": flat for flat, part in _CAP_OF_FLAT.items()}
    names |= {f"provider.{nested}": flat for flat, nested in _NESTED_OF_FLAT.items()}
    for nested, flat in names.items():
        if param == nested or param.startswith(nested + "."):
            sent = flat + param.removeprefix(nested)
            return InvalidRequestError(
                message.replace(f"`{param}`", f"`{sent}`"), param=sent, code=error.code
            )
    return error


def _merge(
    flat: Mapping[str, Raw],
    flat_wishes: ProviderPreferences,
    said: Mapping[str, Raw],
    wishes: ProviderPreferences,
) -> ProviderPreferences:
    changes: dict[str, Any] = {}
    caps: dict[str, Any] = {}
    for name in flat:
        if name in _NESTED_OF_FLAT:
            field = _NESTED_OF_FLAT[name]
            value = getattr(flat_wishes, field)
            if field in said:
                _refuse_difference(name, field, value, getattr(wishes, field))
            changes[field] = value
        else:
            part = _CAP_OF_FLAT[name]
            field = _FIELD_OF_CAP[part]
            value = getattr(flat_wishes.max_price, field)
            if f"max_price.{part}" in said:
                known = getattr(wishes.max_price, field)
                _refuse_difference(name, f"max_price.{part}", value, known)
            caps[field] = value
    if caps:
        changes["max_price"] = structs.replace(wishes.max_price or MaxPrice(), **caps)
    return structs.replace(wishes, **changes)


_Wish = tuple[str, ...] | str | bool | Decimal | None


def _refuse_difference(flat: str, nested: str, sent: _Wish, known: _Wish) -> None:
    if nested in _SETS and isinstance(sent, tuple) and isinstance(known, tuple):
        is_same = set(sent) == set(known)
    else:
        is_same = sent == known
    if not is_same:
        raise InvalidRequestError(
            f"`{flat}` and `provider.{nested}` differ; send one of them.",
            param=flat,
            code="contradiction",
        )
