"""The rule language: TOML becomes rules, and everything that is wrong with it is told at once."""

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, TypeGuard, cast, get_args

from gateway.routing.rules.hours import read_clock, read_days, read_zone
from gateway.routing.rules.lines import Lines
from gateway.routing.rules.problems import Problem, nearest
from gateway.routing.rules.values import (
    DAYS,
    MINUTES_PER_DAY,
    Arm,
    Feature,
    Hours,
    Mirroring,
    Rule,
    Split,
    Then,
    TokenRange,
    Unit,
    When,
    Wishes,
)
from gateway.routing.rules.wishes import read_wishes

MAX_RULES = 1_000
MAX_TEXT_BYTES = 1 << 20
FEATURES: tuple[str, ...] = get_args(Feature)
UNITS: tuple[str, ...] = get_args(Unit)
APIS = ("chat", "messages", "embeddings")
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_TEXT = 512
_MOST_ITEMS = 64
_SYNTAX_PLACE = re.compile(r" \(at line (?P<line>\d+), column \d+\)")

_RULE_MEMBERS = ("name", "description", "enabled", "stop", "when", "then")
_HOURS_MEMBERS = ("zone", "days", "from", "to")
_RANGE_MEMBERS = ("min", "max")
_SPLIT_MEMBERS = ("by", "salt", "arms")
_MIRROR_MEMBERS = ("to", "share")

_Path = tuple[str | int, ...]


def read_rules(text: str, *, source: str) -> tuple[tuple[Rule, ...], list[Problem]]:
    """The rules that are right, and everything that is wrong with the others.

    Args:
        text: TOML.
        source: what the text is called in messages, such as the file's path.
    """
    if len(text.encode()) > MAX_TEXT_BYTES:
        message = f"holds more than {MAX_TEXT_BYTES} bytes; divide what it is for"
        return (), [Problem(source=source, message=message)]
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        place = _SYNTAX_PLACE.search(str(exc))
        return (), [
            Problem(
                source=source,
                line=int(place["line"]) if place else None,
                message=f"not valid TOML: {_SYNTAX_PLACE.sub('', str(exc))}",
            )
        ]
    return _Reader(table, Lines(text), source).read()


class _Reader:
    """Reads one text; every complaint becomes a problem with its place."""

    def __init__(self, table: dict[str, Any], lines: Lines, source: str) -> None:
        self._table = table
        self._lines = lines
        self._source = source
        self._problems: list[Problem] = []
        self._index = 0
        self._rule: str | None = None

    def read(self) -> tuple[tuple[Rule, ...], list[Problem]]:
        for name in self._table:
            if name != "rules":
                self._tell_about_text(
                    f"`{name}` is not known; rules stand in [[rules]] tables", name
                )
        tables = self._table.get("rules", [])
        if not _is_array_of_tables(tables):
            self._tell_about_text("`rules` is not an array of tables; write [[rules]]", "rules")
            return (), self._problems
        if len(tables) > MAX_RULES:
            self._tell_about_text(f"holds {len(tables)} rules; at most {MAX_RULES}", "rules")
            return (), self._problems
        rules: list[Rule] = []
        names: dict[str, int] = {}
        for index, table in enumerate(cast("list[dict[str, Any]]", tables)):
            self._index = index
            before = len(self._problems)
            rule = self._read_rule(table)
            first = names.setdefault(rule.name, index)
            if first != index and table.get("name"):
                self._tell(
                    ("name",),
                    f"the name is taken by rule {first + 1} (line {self._lines.of_rule(first)}); "
                    "choose another one",
                )
            if len(self._problems) == before:
                rules.append(rule)
        return tuple(rules), sorted(self._problems, key=lambda problem: problem.line or 0)

    def _read_rule(self, table: dict[str, Any]) -> Rule:
        name = table.get("name")
        self._rule = name if isinstance(name, str) and name else f"#{self._index + 1}"
        if name is None:
            self._tell((), 'has no name; write name = "…"')
        elif not isinstance(name, str) or not _NAME.fullmatch(name):
            self._tell(
                ("name",),
                f"{name!r} is not a name; write 1 to 64 letters, digits, blanks and . _ : / -",
            )
        self._check_members(table, _RULE_MEMBERS, ())
        then = self._read_then(self._table_of(table, "then", ()))
        if "then" not in table:
            self._tell((), 'does nothing; write then = { … }, as in then = { deny = "…" }')
        return Rule(
            name=self._rule,
            description=self._prose(table, "description"),
            enabled=self._flag(table, "enabled", default=True),
            stop=self._flag(table, "stop", default=False),
            when=self._read_when(self._table_of(table, "when", ())),
            then=then,
        )

    def _read_when(self, table: dict[str, Any]) -> When:
        path: _Path = ("when",)
        self._check_members(table, When.__struct_fields__, path)
        return When(
            models=self._texts(table, "models", path),
            providers=tuple(one.lower() for one in self._texts(table, "providers", path)),
            labels=self._patterns_by_name(table, "labels", path),
            metadata=self._patterns_by_name(table, "metadata", path),
            headers=self._headers(table, path),
            prompt_tokens=self._range(table, path),
            has=cast("tuple[Feature, ...]", self._words(table, "has", FEATURES, path)),
            lacks=cast("tuple[Feature, ...]", self._words(table, "lacks", FEATURES, path)),
            hours=self._hours(table, path),
            apis=self._words(table, "apis", APIS, path),
        )

    def _read_then(self, table: dict[str, Any]) -> Then:
        path: _Path = ("then",)
        self._check_members(table, (*Then.__struct_fields__, "sort"), path)
        return Then(
            **self._change(table, path),
            split=self._split(table, path),
            mirror=self._mirror(table, path),
            deny=self._text(table, "deny", path),
        )

    def _change(self, table: dict[str, Any], path: _Path) -> dict[str, Any]:
        sets = self._table_of(table, "set", path)
        if "sort" in sets:
            self._tell((*path, "set", "sort"), "`sort` stands in `then` itself; move it there")
            sets = {name: value for name, value in sets.items() if name != "sort"}
        if "sort" in table:
            sets = {**sets, "sort": table["sort"]}
        return {
            "set": self._wishes(sets, "set", path, tightens=False),
            "tighten": self._wishes(
                self._table_of(table, "tighten", path), "tighten", path, tightens=True
            ),
            "replace_models": self._texts(table, "replace_models", path, is_name=True),
            "add_models": self._texts(table, "add_models", path, is_name=True),
            "labels": self._labels(table, path),
        }

    def _wishes(
        self,
        table: dict[str, Any],
        name: Literal["set", "tighten"],
        path: _Path,
        *,
        tightens: bool,
    ) -> Wishes | None:
        if not table:
            return None

        def complain(member: str, message: str) -> None:
            is_sort = member == "sort" and not tightens
            self._tell((*path, member) if is_sort else (*path, name, member), message)

        return read_wishes(table, tightens=tightens, complain=complain)

    def _split(self, table: dict[str, Any], path: _Path) -> Split | None:
        if "split" not in table:
            return None
        split, path = self._table_of(table, "split", path), (*path, "split")
        self._check_members(split, _SPLIT_MEMBERS, path)
        by = split.get("by")
        if by not in UNITS:
            self._tell((*path, "by"), f"{by!r} is not a unit; write one of {', '.join(UNITS)}")
            by = "request"
        tables = split.get("arms")
        if not _is_array_of_tables(tables) or not tables:
            self._tell(path, 'has no arms; write arms = [{ name = "…", weight = 1, … }, …]')
            return None
        arms = tuple(
            self._arm(arm, (*path, "arms", number))
            for number, arm in enumerate(cast("list[dict[str, Any]]", tables))
        )
        names = [arm.name for arm in arms]
        for number, name in enumerate(names):
            if name in names[:number]:
                self._tell((*path, "arms", number, "name"), f"the arm {name!r} is there twice")
        if sum(arm.weight for arm in arms) <= 0:
            self._tell(
                (*path, "arms"), "the weights sum to zero, so that no arm could be drawn; raise one"
            )
        return Split(by=cast("Unit", by), salt=self._text(split, "salt", path) or "", arms=arms)

    def _arm(self, table: dict[str, Any], path: _Path) -> Arm:
        self._check_members(
            table,
            ("name", "weight", "set", "tighten", "sort", "replace_models", "add_models", "labels"),
            path,
        )
        name = self._text(table, "name", path)
        if name is None:
            self._tell(path, f'arm {cast("int", path[-1]) + 1} has no name; write name = "…"')
        weight = table.get("weight")
        if not _is_number(weight) or not 0 <= weight < math.inf:
            self._tell(
                (*path, "weight"),
                f"{_quoted(weight)} is not a weight; write a number that is not negative",
            )
            weight = 1
        return Arm(name=name or "", weight=float(weight), **self._change(table, path))

    def _mirror(self, table: dict[str, Any], path: _Path) -> Mirroring | None:
        if "mirror" not in table:
            return None
        mirror, path = self._table_of(table, "mirror", path), (*path, "mirror")
        self._check_members(mirror, _MIRROR_MEMBERS, path)
        to, share = self._text(mirror, "to", path), mirror.get("share", 1)
        if not to:
            self._tell(path, 'names no endpoint; write to = "provider/model"')
        if not _is_number(share) or not 0 < share <= 1:
            self._tell(
                (*path, "share"), f"{_quoted(share)} is not a share; write above 0 and at most 1"
            )
            share = 1
        return Mirroring(to=to or "", share=float(share))

    def _labels(self, table: dict[str, Any], path: _Path) -> dict[str, str]:
        labels: dict[str, str] = {}
        for name, value in self._table_of(table, "labels", path).items():
            if not _is_text(value) or not _is_text(name) or len(name) > _MOST_ITEMS:
                self._tell((*path, "labels", name), 'labels are short texts: name = "value"')
            elif "=" in name:
                # Filters and links write NAME=VALUE.
                self._tell((*path, "labels", name), "a label's name holds no equals sign")
            else:
                labels[name] = value
        return labels

    def _headers(self, table: dict[str, Any], path: _Path) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name, patterns in self._patterns_by_name(table, "headers", path).items():
            lower = name.lower()
            if lower in SECRET_HEADERS:
                self._tell((*path, "headers", name), "holds a secret, which rules do not look at")
            elif not _HEADER_NAME.fullmatch(lower):
                self._tell((*path, "headers", name), f"{name!r} is not the name of a header")
            else:
                found[lower] = patterns
        return found

    def _patterns_by_name(
        self, table: dict[str, Any], member: str, path: _Path
    ) -> dict[str, tuple[str, ...]]:
        tables = self._table_of(table, member, path)
        return {name: self._texts(tables, name, (*path, member)) for name in tables}

    def _range(self, table: dict[str, Any], path: _Path) -> TokenRange | None:
        if "prompt_tokens" not in table:
            return None
        limits, path = self._table_of(table, "prompt_tokens", path), (*path, "prompt_tokens")
        self._check_members(limits, _RANGE_MEMBERS, path)
        for name in _RANGE_MEMBERS:
            value = limits.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                self._tell((*path, name), f"{value!r} is not a number of tokens, 0 or more")
                return None
        low, high = limits.get("min", 0), limits.get("max")
        if high is not None and high <= low:
            self._tell(path, f"no prompt has {low} tokens or more and fewer than {high}")
        return TokenRange(min=low, max=high)

    def _hours(self, table: dict[str, Any], path: _Path) -> tuple[Hours, ...]:
        if "hours" not in table:
            return ()
        value, path = table["hours"], (*path, "hours")
        several = _is_array_of_tables(value)
        if not several and not isinstance(value, dict):
            self._tell(path, 'is not a table; write { zone = "Europe/Berlin", … }')
            return ()
        tables = cast("list[dict[str, Any]]", value if several else [value])
        found = [
            self._one_hours(one, (*path, number) if several else path)
            for number, one in enumerate(tables)
        ]
        return tuple(hours for hours in found if hours is not None)

    def _one_hours(self, table: dict[str, Any], path: _Path) -> Hours | None:
        self._check_members(table, _HOURS_MEMBERS, path)
        if "zone" not in table:
            self._tell(path, 'names no time zone; write zone = "Europe/Berlin", or "UTC"')
            return None
        days = self._texts(table, "days", path)
        zone = self._converted(read_zone, self._text(table, "zone", path) or "", (*path, "zone"))
        read = self._converted(read_days, days, (*path, "days")) if days else DAYS
        begin = self._clock(table, "from", 0, path)
        end = self._clock(table, "to", MINUTES_PER_DAY, path)
        if zone is None or read is None or begin is None or end is None:
            return None
        if begin == end:
            self._tell(path, "`from` and `to` are the same; leave both out for the whole day")
        return Hours(zone=zone, days=read, begin=begin, end=end)

    def _clock(self, table: dict[str, Any], name: str, default: int, path: _Path) -> int | None:
        if name not in table:
            return default
        return self._converted(read_clock, self._text(table, name, path) or "", (*path, name))

    def _converted(self, read: Callable[[Any], Any], value: object, path: _Path) -> Any:  # noqa: ANN401
        try:
            return read(value)
        except ValueError as exc:
            self._tell(path, str(exc))
            return None

    def _texts(
        self, table: dict[str, Any], member: str, path: _Path, *, is_name: bool = False
    ) -> tuple[str, ...]:
        """A text or a list of texts; what is left out is an empty list."""
        value = table.get(member)
        if value is None:
            return ()
        texts = cast("list[object]", value if isinstance(value, list) else [value])
        if not texts or len(texts) > _MOST_ITEMS or not all(map(_is_text, texts)):
            self._tell((*path, member), f'is not a list of 1 to {_MOST_ITEMS} texts; write ["…"]')
            return ()
        if is_name and any("*" in str(text) for text in texts):
            self._tell((*path, member), "holds a pattern; models are named in full here")
        return tuple(str(text) for text in texts)

    def _words(
        self, table: dict[str, Any], member: str, known: tuple[str, ...], path: _Path
    ) -> tuple[str, ...]:
        words = self._texts(table, member, path)
        for word in words:
            if word not in known:
                self._tell((*path, member), f"{word!r} is not known{nearest(word, known)}")
        return tuple(dict.fromkeys(words))

    def _text(self, table: dict[str, Any], member: str, path: _Path) -> str | None:
        value = table.get(member)
        if value is None:
            return None
        if not _is_text(value):
            self._tell(
                (*path, member),
                f"is not a text of 1 to {_LONGEST_TEXT} characters without control characters",
            )
            return None
        return cast("str", value)

    def _prose(self, table: dict[str, Any], member: str) -> str:
        value = table.get(member, "")
        if not isinstance(value, str):
            self._tell((member,), "is not a text")
            return ""
        return value

    def _flag(self, table: dict[str, Any], member: str, *, default: bool) -> bool:
        value = table.get(member, default)
        if not isinstance(value, bool):
            self._tell((member,), f"{value!r} is neither true nor false")
            return default
        return value

    def _table_of(self, table: Mapping[str, Any], member: str, path: _Path) -> dict[str, Any]:
        value = table.get(member, {})
        if not isinstance(value, dict):
            self._tell((*path, member), "is not a table; write { … }")
            return {}
        return cast("dict[str, Any]", value)

    def _check_members(self, table: Mapping[str, Any], known: tuple[str, ...], path: _Path) -> None:
        for name in table:
            if name not in known:
                self._tell((*path, name), f"`{name}` is not known{nearest(name, known)}")

    def _tell(self, path: _Path, message: str) -> None:
        self._problems.append(
            Problem(
                source=self._source,
                line=self._lines.of_rule(self._index, path),
                rule=self._rule,
                where=_dotted(path) or None,
                message=message,
            )
        )

    def _tell_about_text(self, message: str, key: str) -> None:
        self._problems.append(
            Problem(source=self._source, line=self._lines.of_key(key), message=message)
        )


def _dotted(path: _Path) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _quoted(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)


def _is_array_of_tables(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) for one in cast("list[object]", value)
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and not _CONTROL.search(value)


def _is_number(value: object) -> TypeGuard[int | Decimal]:
    return (
        isinstance(value, int | Decimal)
        and not isinstance(value, bool)
        and not (isinstance(value, Decimal) and not value.is_finite())
    )
