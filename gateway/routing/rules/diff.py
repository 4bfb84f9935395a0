"""What changes from one rule set to the next, rule by rule, for people and for programs."""

from typing import Any, Literal, cast

import msgspec

from gateway.domain.plain_json import builtins_with_texts
from gateway.routing.rules.rule_set import RuleSet
from gateway.routing.rules.values import Rule

Kind = Literal["added", "removed", "changed", "moved"]


class MemberDiff(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a rule that is another one now."""

    member: str
    """Dotted."""
    before: Any = None
    """None when it was not there."""
    after: Any = None
    """None when it is gone."""


class RuleDiff(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that is not as it was."""

    rule: str
    kind: Kind
    members: tuple[MemberDiff, ...] = ()


class RuleSetDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that changes."""

    old_version: str | None
    new_version: str | None
    changes: tuple[RuleDiff, ...] = ()

    def lines(self) -> list[str]:
        """For people: + added, - removed, ~ changed, > moved."""
        marks: dict[Kind, str] = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
        told: list[str] = []
        for change in self.changes:
            told.append(f"{marks[change.kind]} {change.rule}")
            told += [f"    {_told(member, change.kind)}" for member in change.members]
        return told


def diff(old: RuleSet, new: RuleSet) -> RuleSetDiff:
    """What becomes different, by the rules' names: first what goes, then the new set in order."""
    before = {rule.name: rule for rule in old.rules}
    after = {rule.name: rule for rule in new.rules}
    changes = [
        RuleDiff(rule=name, kind="removed", members=_members(rule, None))
        for name, rule in before.items()
        if name not in after
    ]
    common = [name for name in before if name in after]
    moved = _moved(common, [name for name in after if name in before])
    for name, rule in after.items():
        was = before.get(name)
        if was is None:
            changes.append(RuleDiff(rule=name, kind="added", members=_members(None, rule)))
        elif was != rule:
            changes.append(RuleDiff(rule=name, kind="changed", members=_members(was, rule)))
        if name in moved:
            changes.append(RuleDiff(rule=name, kind="moved"))
    return RuleSetDiff(old_version=old.version, new_version=new.version, changes=tuple(changes))


def describe(rule: Rule) -> dict[str, Any]:
    """The rule in the language's words, dotted members to values, without what it leaves open."""
    flat: dict[str, Any] = {}
    _flatten("", _plain(rule), flat)
    flat.pop("name", None)
    # The language has `sort` beside `set`, of which it becomes a part.
    return {path.replace(".set.sort", ".sort"): value for path, value in flat.items()}


def _members(was: Rule | None, now: Rule | None) -> tuple[MemberDiff, ...]:
    before = describe(was) if was is not None else {}
    after = describe(now) if now is not None else {}
    return tuple(
        MemberDiff(member=member, before=before.get(member), after=after.get(member))
        for member in dict.fromkeys((*after, *before))
        if before.get(member) != after.get(member)
    )


def _plain(rule: Rule) -> dict[str, Any]:
    return cast("dict[str, Any]", _without_rest(builtins_with_texts(rule)))


def _without_rest(value: Any) -> Any:  # noqa: ANN401 - plain JSON
    """Wishes as their members alone; the other preferences were never given."""
    if isinstance(value, list | tuple):
        return [_without_rest(one) for one in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    table = cast("dict[str, Any]", value)
    if set(table) == {"zone", "days", "begin", "end"}:
        clock = {"from": _clock(table["begin"]), "to": _clock(table["end"])}
        return {"zone": table["zone"], "days": list(table["days"]), **clock}
    if set(table) == {"members", "values"}:
        return {member: _shown(table["values"].get(member)) for member in table["members"]}
    return {name: _without_rest(one) for name, one in table.items()}


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _shown(value: Any) -> Any:  # noqa: ANN401 - plain JSON
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {name: one for name, one in table.items() if one is not None}
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _flatten(path: str, value: Any, flat: dict[str, Any]) -> None:  # noqa: ANN401 - plain JSON
    if isinstance(value, dict) and value:
        for name, member in cast("dict[str, Any]", value).items():
            _flatten(f"{path}.{name}" if path else name, member, flat)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, member in enumerate(cast("list[dict[str, Any]]", value), start=1):
            rest = {name: one for name, one in member.items() if name != "name"}
            _flatten(f"{path}[{member.get('name', number)}]", rest, flat)
    elif value is not None and value != {}:
        flat[path] = value


def _moved(old: list[str], new: list[str]) -> set[str]:
    """Names that have to move to turn one order into the other: the fewest."""
    place = {name: number for number, name in enumerate(old)}
    # The longest ascending run stays where it is; the rest moves.
    best: list[tuple[int, int]] = []
    for number, name in enumerate(new):
        length, last = max(
            ((best[k][0], k) for k in range(number) if place[new[k]] < place[name]),
            default=(0, -1),
        )
        best.append((length + 1, last))
    kept: set[str] = set()
    at = max(range(len(new)), key=lambda k: best[k][0], default=-1)
    while at >= 0:
        kept.add(new[at])
        at = best[at][1]
    return set(new) - kept


def _told(member: MemberDiff, kind: Kind) -> str:
    if kind == "added" or member.before is None:
        return f"{member.member} = {_written(member.after)}"
    if kind == "removed" or member.after is None:
        return f"{member.member} was {_written(member.before)}"
    return f"{member.member}: {_written(member.before)} -> {_written(member.after)}"


def _written(value: object) -> str:
    return msgspec.json.encode(value).decode()
