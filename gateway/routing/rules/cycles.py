"""Finds rules whose replacements of models lead back to where they began.

Rules are applied once each, so a circle would end by itself; but the first replacement of it would
be undone by the last, which nobody means. Two rules that can never hold for one request, such as
one for the day and one for the night, form no circle.
"""

from collections.abc import Sequence

from gateway.routing.patterns import matches
from gateway.routing.rules.hours import stretches
from gateway.routing.rules.values import Rule, When

Circle = tuple[tuple[int, ...], tuple[str, ...]]


def find_cycles(rules: Sequence[Rule]) -> list[Circle]:
    """Every circle: the rules' places, and the models on the way, the last like the first.

    A circle leaves what its first rule matches, and comes back to it.
    """
    return _Search(rules).circles()


class _Search:
    """Only rules that ask for models and replace them can be part of a circle."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._places = [
            place
            for place, rule in enumerate(rules)
            if rule.enabled and rule.when.models and _replacements(rule)
        ]
        self._apart: dict[tuple[int, int], bool] = {}
        self._found: list[Circle] = []

    def circles(self) -> list[Circle]:
        for number, place in enumerate(self._places):
            rule = self._rules[place]
            seen: set[tuple[int, str]] = set()
            for model in () if rule.stop else _replacements(rule):
                if not _is_matched(model, rule.when):
                    self._follow(number, (place,), (rule.when.models[0], model), seen)
        return self._found

    def _follow(
        self,
        number: int,
        path: tuple[int, ...],
        models: tuple[str, ...],
        seen: set[tuple[int, str]],
    ) -> None:
        start = self._rules[path[0]].when
        for further, place in enumerate(self._places[number + 1 :], start=number + 1):
            rule = self._rules[place]
            if not _is_matched(models[-1], rule.when) or self._is_apart(place, path):
                continue
            for model in _replacements(rule):
                if _is_matched(model, start):
                    self._found.append(((*path, place), (*models, model)))
                elif (place, model) not in seen and not rule.stop:
                    # Each way on is gone once: the number of paths would grow with their length.
                    seen.add((place, model))
                    self._follow(further, (*path, place), (*models, model), seen)

    def _is_apart(self, place: int, path: tuple[int, ...]) -> bool:
        return any(self._are_apart(earlier, place) for earlier in path)

    def _are_apart(self, one: int, other: int) -> bool:
        known = self._apart.get((one, other))
        if known is None:
            known = are_apart(self._rules[one].when, self._rules[other].when)
            self._apart[one, other] = known
        return known


def are_apart(one: When, other: When) -> bool:
    """Whether it is plain that no request fulfils both, whatever its model."""
    return (
        _tokens_are_apart(one, other)
        or bool(set(one.has) & set(other.lacks) or set(one.lacks) & set(other.has))
        or _hours_are_apart(one, other)
        or any(
            _texts_are_apart(ours, theirs)
            for ours, theirs in (
                (one.labels, other.labels),
                (one.metadata, other.metadata),
                (one.headers, other.headers),
            )
        )
        or bool(one.apis and other.apis and not set(one.apis) & set(other.apis))
    )


def _tokens_are_apart(one: When, other: When) -> bool:
    first, second = one.prompt_tokens, other.prompt_tokens
    if first is None or second is None:
        return False
    return (first.max is not None and first.max <= second.min) or (
        second.max is not None and second.max <= first.min
    )


def _hours_are_apart(one: When, other: When) -> bool:
    if not one.hours or not other.hours:
        return False
    if len({hours.zone for hours in (*one.hours, *other.hours)}) > 1:
        return False
    ours = [stretch for hours in one.hours for stretch in stretches(hours)]
    theirs = [stretch for hours in other.hours for stretch in stretches(hours)]
    return not any(
        begin < their_end and their_begin < end
        for begin, end in ours
        for their_begin, their_end in theirs
    )


def _texts_are_apart(one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]]) -> bool:
    """Without stars on either side; a pattern may always meet another."""
    return any(
        not any("*" in text for text in (*texts, *other[name]))
        and not set(texts) & set(other[name])
        for name, texts in one.items()
        if name in other
    )


def _replacements(rule: Rule) -> tuple[str, ...]:
    split = rule.then.split
    arms = split.arms if split is not None else ()
    return rule.then.replace_models + tuple(m for arm in arms for m in arm.replace_models)


def _is_matched(model: str, when: When) -> bool:
    return any(matches(pattern, model) for pattern in when.models)
