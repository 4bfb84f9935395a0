"""What a rule wants of routing, in the members of a request's ``provider`` object.

`overlay` puts a rule's values in place of the caller's. `tighten` joins both so that an endpoint
has to please either: no endpoint is let in that the caller's own preferences kept out.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.chat.preferences import Bounds, MaxPrice, ProviderPreferences
from gateway.chat.routing_preferences import decode_preferences
from gateway.domain.errors import InvalidRequestError
from gateway.routing.rules.problems import nearest
from gateway.routing.rules.values import Wishes

FIELDS_OF_MEMBER: dict[str, tuple[str, ...]] = {
    "order": ("order",),
    "only": ("only",),
    "ignore": ("ignore",),
    "allow_fallbacks": ("allow_fallbacks",),
    "sort": ("sort", "partition"),
    "max_price": ("max_price",),
    "max_cost_usd": ("max_cost_usd",),
    "require_parameters": ("require_parameters",),
    "data_collection": ("data_collection",),
    "zdr": ("zdr",),
    "enforce_distillable_text": ("enforce_distillable_text",),
    "quantizations": ("quantizations",),
    "min_throughput": ("min_throughput_tokens_per_s",),
    "max_latency": ("max_latency_ms",),
    "preferred_min_throughput": ("preferred_min_throughput_tokens_per_s",),
    "preferred_max_latency": ("preferred_max_latency_ms",),
}
"""Members as they are written, and the fields of `ProviderPreferences` that each decides."""

_PROTECTIONS = {"zdr": True, "data_collection": "deny", "enforce_distillable_text": True}
"""What protects a caller's data; a rule can demand it, and cannot lift what the caller demands."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_Value = TypeVar("_Value")


class ContradictionError(Exception):
    """Both sides leave nothing: nothing can please the caller and the rule."""

    def __init__(self, member: str, asked: tuple[str, ...], allowed: tuple[str, ...]) -> None:
        super().__init__(member)
        self.member = member
        self.asked = asked
        self.allowed = allowed


def read_wishes(
    table: Mapping[str, Any], *, tightens: bool, complain: Callable[[str, str], None]
) -> Wishes:
    """Wishes from a table of TOML.

    Args:
        table: ``set`` or ``tighten``.
        tightens: only members that `tighten` knows to join are taken.
        complain: called with a member and what is wrong with it; that member is left out.
    """
    members: list[str] = []
    fields: dict[str, Any] = {}
    for member, value in table.items():
        why = _unfit(member, value, tightens=tightens)
        if why is not None:
            complain(member, why)
            continue
        try:
            decoded = decode_preferences(msgspec.Raw(_ENCODER.encode({member: value})))
        except InvalidRequestError as exc:
            complain(member, exc.message)
            continue
        except (TypeError, ValueError) as exc:
            complain(member, f"{value!r} is not a value of {member} ({exc})")
            continue
        for field in FIELDS_OF_MEMBER[member]:
            members.append(field)
            fields[field] = getattr(decoded, field)
    return Wishes(members=tuple(members), values=ProviderPreferences(**fields))


def overlay(preferences: ProviderPreferences, wishes: Wishes) -> ProviderPreferences:
    """The caller's preferences with the rule's in their place; prices part by part."""
    fields: dict[str, Any] = {field: getattr(wishes.values, field) for field in wishes.members}
    caps = fields.get("max_price")
    if caps is not None and preferences.max_price is not None:
        fields["max_price"] = _merged(preferences.max_price, caps, _second)
    return msgspec.structs.replace(preferences, **fields)


def tighten(preferences: ProviderPreferences, wishes: Wishes) -> ProviderPreferences:
    """Preferences that only those endpoints please that please both.

    Raises:
        ContradictionError: no endpoint can.
    """
    fields = {
        field: TIGHTENERS[field](getattr(preferences, field), getattr(wishes.values, field))
        for field in wishes.members
    }
    return msgspec.structs.replace(preferences, **fields)


def covers(slug: str, other: str) -> bool:
    """Whether a provider's slug means everything that another one means."""
    return other == slug or other.startswith(f"{slug}/")


def _unfit(member: str, value: object, *, tightens: bool) -> str | None:
    if member not in FIELDS_OF_MEMBER:
        return f"`{member}` is not known{nearest(member, FIELDS_OF_MEMBER)}"
    if tightens and not all(field in TIGHTENERS for field in FIELDS_OF_MEMBER[member]):
        return f"`{member}` does not exclude anything; it belongs in `set`"
    if tightens and value in ([], {}):
        return "is empty, which would not restrict anything; remove it"
    if member in _PROTECTIONS and value != _PROTECTIONS[member]:
        demanded = "true" if _PROTECTIONS[member] is True else f'"{_PROTECTIONS[member]}"'
        return (
            "cannot be lifted by a rule, since a caller may rely on it; "
            f"write {demanded} or remove it"
        )
    if tightens and value is not True and isinstance(value, bool) and member != "allow_fallbacks":
        return "is false, which would not restrict anything; remove it"
    if tightens and member == "allow_fallbacks" and value is not False:
        return "is true, which would not restrict anything; remove it"
    return None


def _common_slugs(asked: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Of each pair the narrower; two tags of one provider count as different things."""
    if not asked:
        return allowed
    common = [
        one if covers(other, one) else other
        for one in asked
        for other in allowed
        if covers(other, one) or covers(one, other)
    ]
    if not common:
        raise ContradictionError("only", asked, allowed)
    return tuple(dict.fromkeys(common))


def _common_quantizations(asked: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    if not asked:
        return allowed
    common = tuple(one for one in asked if one in allowed)
    if not common:
        raise ContradictionError("quantizations", asked, allowed)
    return common


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one + other))


def _lower(one: Any, other: Any) -> Any:  # noqa: ANN401 - of any ordered kind
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _higher(one: Any, other: Any) -> Any:  # noqa: ANN401 - of any ordered kind
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _second(one: Any, other: Any) -> Any:  # noqa: ANN401 - of any kind
    return one if other is None else other


def _merged(one: _Value, other: _Value, join: Callable[[Any, Any], Any]) -> _Value:
    names: tuple[str, ...] = getattr(one, "__struct_fields__", ())
    return type(one)(**{name: join(getattr(one, name), getattr(other, name)) for name in names})


def _lower_caps(one: MaxPrice | None, other: MaxPrice | None) -> MaxPrice | None:
    if one is None or other is None:
        return other if one is None else one
    return _merged(one, other, _lower)


def _lower_bounds(one: Bounds | None, other: Bounds | None) -> Bounds | None:
    if one is None or other is None:
        return other if one is None else one
    return _merged(one, other, _lower)


def _higher_bounds(one: Bounds | None, other: Bounds | None) -> Bounds | None:
    if one is None or other is None:
        return other if one is None else one
    return _merged(one, other, _higher)


def _either(one: bool, other: bool) -> bool:  # noqa: FBT001 - two values of one field
    return one or other


def _both(one: bool, other: bool) -> bool:  # noqa: FBT001 - two values of one field
    return one and other


def _deny(one: str, other: str) -> str:
    return "deny" if "deny" in {one, other} else "allow"


TIGHTENERS: dict[str, Callable[[Any, Any], Any]] = {
    "only": _common_slugs,
    "ignore": _union,
    "allow_fallbacks": _both,
    "max_price": _lower_caps,
    "max_cost_usd": _lower,
    "require_parameters": _either,
    "data_collection": _deny,
    "zdr": _either,
    "enforce_distillable_text": _either,
    "quantizations": _common_quantizations,
    "min_throughput_tokens_per_s": _higher_bounds,
    "max_latency_ms": _lower_bounds,
}
"""By field of `ProviderPreferences`: the caller's value and the rule's, joined. What only moves
endpoints within the order is not among them."""
