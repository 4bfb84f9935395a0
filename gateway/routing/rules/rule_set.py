"""A rule set: read from text, found free of errors, compiled for matching, and named by a hash."""

import hashlib
from collections.abc import Iterable

import msgspec

from gateway.routing.rules.cycles import find_cycles
from gateway.routing.rules.language import read_rules
from gateway.routing.rules.lines import Lines
from gateway.routing.rules.matching import Matcher
from gateway.routing.rules.problems import Problem, RulesError
from gateway.routing.rules.values import Rule

_VERSION_CHARACTERS = 16
_ENCODER = msgspec.json.Encoder(order="deterministic")


class RuleSet:
    """Rules in the order in which they are applied. Never changed once it is made."""

    __slots__ = ("matcher", "rules", "source", "version")

    def __init__(self, rules: Iterable[Rule], *, source: str) -> None:
        self.rules = tuple(rules)
        self.source = source
        """What the text it came from is called."""
        self.version = _version(self.rules) if self.rules else None
        """A hash of what the rules say, whatever their text looks like; None without rules."""
        self.matcher = Matcher(self.rules)

    @property
    def is_empty(self) -> bool:
        return not self.rules


NO_RULES = RuleSet((), source="no rules")


def compile_rules(text: str, *, source: str) -> RuleSet:
    """A rule set from TOML.

    Args:
        text: the whole of it.
        source: what the text is called in messages, such as the file's path.

    Raises:
        RulesError: something is wrong; carries all of it, each with line, rule and remedy.
    """
    rules, problems = read_rules(text, source=source)
    if not problems:
        problems = _circles(rules, Lines(text), source)
    if problems:
        raise RulesError(problems)
    return RuleSet(rules, source=source)


def _circles(rules: tuple[Rule, ...], lines: Lines, source: str) -> list[Problem]:
    # Of several ways round between the same rules, one is told.
    circles = dict(reversed(find_cycles(rules)))
    return [
        Problem(
            source=source,
            line=lines.of_rule(places[-1], ("then",)),
            rule=rules[places[-1]].name,
            where="then",
            message=(
                f"replacing models leads back: {' -> '.join(models)}, through the rules "
                f"{', '.join(f'`{rules[place].name}`' for place in places)}; "
                "narrow what one of them applies to, or end one with stop = true"
            ),
        )
        for places, models in sorted(circles.items())
    ]


def _version(rules: tuple[Rule, ...]) -> str:
    return hashlib.sha256(_ENCODER.encode(rules)).hexdigest()[:_VERSION_CHARACTERS]
