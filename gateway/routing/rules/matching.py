"""Finds the rules whose conditions hold, all at once: one bit per rule, one look-up per condition.

What each rule asks is turned around when the set is compiled: for a prompt's length, a label's
value or a model there is one number whose bits are the rules that are content with it. A request
is then matched with a handful of look-ups, however many rules there are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.chat.request import ChatRequest, Need
from gateway.routing.patterns import matches
from gateway.routing.rules.hours import Steps, minute_of_week, stretches
from gateway.routing.rules.values import Feature, Rule, When

FEATURE_OF_NEED: dict[Need, Feature] = {
    "tools": "tools",
    "custom_tools": "tools",
    "structured_outputs": "schema",
    "json_mode": "json",
    "vision": "images",
    "image_output": "image_output",
    "audio_input": "audio",
    "audio_output": "audio_output",
    "pdf_input": "files",
    "video_input": "video",
    "logprobs": "logprobs",
    "web_search": "web_search",
    "reasoning": "reasoning",
}

_MOST_REMEMBERED = 2_048


class Asked:
    """What conditions look at. Rules that apply change the second half of it."""

    __slots__ = ("api", "at", "headers", "labels", "names", "providers", "request")

    def __init__(
        self,
        request: ChatRequest,
        *,
        api: str,
        at: datetime,
        headers: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> None:
        self.request = request
        self.api = api
        self.at = at
        self.headers = headers
        self.labels = labels
        self.names: Sequence[str] = ()
        """Every model under each of its names."""
        self.providers: Sequence[str] = ()
        """Those that the request names."""


class Matcher:
    """Compiled conditions. What it remembers is bounded and changes no answer."""

    __slots__ = ("_all", "_fixed", "_moving", "models", "needs_names")

    def __init__(self, rules: Sequence[Rule]) -> None:
        whens = [rule.when for rule in rules]
        self._all = sum(1 << place for place, rule in enumerate(rules) if rule.enabled)
        self.models = _Texts([(bit, when.models) for bit, when in _bits(whens)])
        self._fixed = _present(
            _tokens(whens),
            _features(whens),
            _hours(whens),
            _apis(whens),
            _named(whens, "metadata", lambda asked: asked.request.labels),
            _named(whens, "headers", lambda asked: asked.headers),
        )
        self._moving = _present(
            _named(whens, "labels", lambda asked: asked.labels),
            _any_of(self.models, lambda asked: asked.names),
            _any_of(
                _Texts([(bit, when.providers) for bit, when in _bits(whens)]),
                lambda asked: asked.providers,
            ),
        )
        self.needs_names = any(
            (when.models or when.providers) and rule.enabled
            for when, rule in zip(whens, rules, strict=True)
        )
        """Whether any condition asks what the request's models are."""

    def fixed(self, asked: Asked) -> int:
        """The rules whose conditions hold that no rule can change."""
        found = self._all
        for holds in self._fixed:
            found &= holds(asked)
            if not found:
                break
        return found

    def moving(self, asked: Asked) -> int:
        """The rules whose other conditions hold, with the request as it stands now."""
        found = self._all
        for holds in self._moving:
            found &= holds(asked)
            if not found:
                break
        return found


Holds = Callable[[Asked], int]


class _Texts:
    """For one text: the rules one of whose patterns it fits."""

    __slots__ = ("_literals", "_patterns", "_remembered", "bits", "free")

    def __init__(self, wanted: Iterable[tuple[int, Sequence[str]]]) -> None:
        self.bits = self.free = 0
        self._literals: dict[str, int] = {}
        self._patterns: dict[str, int] = {}
        for bit, patterns in wanted:
            if not patterns:
                self.free |= bit
                continue
            self.bits |= bit
            for pattern in patterns:
                known = self._patterns if "*" in pattern else self._literals
                known[pattern] = known.get(pattern, 0) | bit
        self._remembered: dict[str, int] = {}

    def of(self, text: str) -> int:
        found = self._remembered.get(text)
        if found is None:
            found = self._literals.get(text, 0)
            for pattern, bits in self._patterns.items():
                if found & bits != bits and matches(pattern, text):
                    found |= bits
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = found
        return found


def _bits(whens: Sequence[When]) -> list[tuple[int, When]]:
    return [(1 << place, when) for place, when in enumerate(whens)]


def _present(*holds: Holds | None) -> tuple[Holds, ...]:
    return tuple(one for one in holds if one is not None)


def _any_of(texts: _Texts, read: Callable[[Asked], Sequence[str]]) -> Holds | None:
    if not texts.bits:
        return None

    def holds(asked: Asked) -> int:
        found = texts.free
        for text in read(asked):
            found |= texts.of(text)
        return found

    return holds


def _named(
    whens: Sequence[When], member: str, read: Callable[[Asked], Mapping[str, str]]
) -> Holds | None:
    """Labels, metadata or headers: each name that a rule asks for must be there and fit."""
    wanted: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for bit, when in _bits(whens):
        conditions: dict[str, tuple[str, ...]] = getattr(when, member)
        for name, patterns in conditions.items():
            wanted.setdefault(name, []).append((bit, patterns))
    if not wanted:
        return None
    by_name = [(name, _Texts(conditions)) for name, conditions in wanted.items()]

    def holds(asked: Asked) -> int:
        values = read(asked)
        failed = 0
        for name, texts in by_name:
            value = values.get(name)
            failed |= texts.bits if value is None else texts.bits & ~texts.of(value)
        return ~failed

    return holds


def _tokens(whens: Sequence[When]) -> Holds | None:
    free = sum(bit for bit, when in _bits(whens) if when.prompt_tokens is None)
    ranged = [
        (when.prompt_tokens.min, when.prompt_tokens.max, bit)
        for bit, when in _bits(whens)
        if when.prompt_tokens is not None
    ]
    if not ranged:
        return None
    steps = Steps(ranged)
    return lambda asked: free | steps.at(asked.request.prompt_tokens_estimate)


def _features(whens: Sequence[When]) -> Holds | None:
    asked_for: dict[Feature, int] = {}
    kept_out: dict[Feature, int] = {}
    for bit, when in _bits(whens):
        for feature in when.has:
            asked_for[feature] = asked_for.get(feature, 0) | bit
        for feature in when.lacks:
            kept_out[feature] = kept_out.get(feature, 0) | bit
    if not asked_for and not kept_out:
        return None
    everything = _sum(asked_for.values())

    def holds(asked: Asked) -> int:
        request = asked.request
        if not request.needs and not request.stream:
            return ~everything
        present = {FEATURE_OF_NEED[need] for need in request.needs if need in FEATURE_OF_NEED}
        if request.stream:
            present.add("stream")
        failed = 0
        for feature, bits in asked_for.items():
            if feature not in present:
                failed |= bits
        for feature, bits in kept_out.items():
            if feature in present:
                failed |= bits
        return ~failed

    return holds


def _hours(whens: Sequence[When]) -> Holds | None:
    free = 0
    by_zone: dict[str, list[tuple[int, int | None, int]]] = {}
    for bit, when in _bits(whens):
        if not when.hours:
            free |= bit
        for hours in when.hours:
            by_zone.setdefault(hours.zone, []).extend(
                (begin, end, bit) for begin, end in stretches(hours)
            )
    if not by_zone:
        return None
    zones = [(ZoneInfo(zone), Steps(parts)) for zone, parts in by_zone.items()]

    def holds(asked: Asked) -> int:
        found = free
        for zone, steps in zones:
            found |= steps.at(minute_of_week(asked.at, zone))
        return found

    return holds


def _apis(whens: Sequence[When]) -> Holds | None:
    texts = _Texts([(bit, when.apis) for bit, when in _bits(whens)])
    return _any_of(texts, lambda asked: (asked.api,))


def _sum(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found
