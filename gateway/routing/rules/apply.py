"""Applies a rule set to one request: which rules hold, in order, and what becomes of the request.

Rules are looked at once each, from first to last. A rule sees the request as the rules before it
left it: a model that one of them put in is matched by those behind it, as are labels it attached.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from math import prod

import msgspec

from gateway.chat.preferences import ProviderPreferences
from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from gateway.routing.patterns import matches
from gateway.routing.rules.drawing import ALGORITHM, Assignment, Mirror, assign, draw_of
from gateway.routing.rules.matching import Asked
from gateway.routing.rules.rule_set import RuleSet
from gateway.routing.rules.values import Change, Mirroring, Rule, When
from gateway.routing.rules.wishes import ContradictionError, overlay, tighten


class Meaning(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one of a request's model names stands for."""

    model: str
    """Canonical, or the name itself where nobody knows it."""
    provider: str | None = None
    """The provider that the name pins, if any."""


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """A rule refuses the request."""

    rule: str
    message: str


class Ruled(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules made of a request."""

    request: ChatRequest
    """As it is to be planned; the very same value when no rule changed it."""
    labels: Mapping[str, str]
    """The key's, with those that rules attached."""
    rules: tuple[str, ...] = ()
    """Names of those that applied, in order."""
    version: str | None = None
    """Of the rule set; None when there is none."""
    denial: Denial | None = None
    mirror: Mirror | None = None
    splits: tuple[Assignment, ...] = ()
    has_other_models: bool = False
    """Rules replaced the request's models, or added to them."""
    given_models: frozenset[str] = frozenset()
    """Models that rules put in: names of models on every path, never a provider's pin."""

    def compact(self) -> dict[str, object]:
        """For the record, beside the plan; empty when no rule applied."""
        if not self.rules:
            return {}
        known: dict[str, object] = {"rules": self.rules}
        if self.splits:
            # Evidence about the arms; what was drawn within one stands in ``mode_in_arm``.
            known["mode"] = "rule_split"
            known["p_arms"] = prod([split.probability for split in self.splits])
            known["assignment_unit"] = self.splits[0].unit
            known["rng_rules"] = ALGORITHM
            known["splits"] = msgspec.to_builtins(self.splits)
        if self.mirror is not None:
            known["mirror"] = {**msgspec.to_builtins(self.mirror), "mode": "shadow"}
        if self.denial is not None:
            known["denied_by"] = self.denial.rule
        if self.has_other_models:
            known["models"] = self.request.models
        return known


def as_typed(name: str) -> Meaning:
    """What a name means where nobody looks it up."""
    return Meaning(model=name)


def apply_rules(
    rule_set: RuleSet,
    request: ChatRequest,
    caller: Caller,
    *,
    at: datetime,
    headers: Mapping[str, str],
    secret_salt: bytes,
    seed: int,
    meaning_of: Callable[[str], Meaning] = as_typed,
    api: str = "chat",
) -> Ruled:
    """What the rules make of a request.

    Args:
        rule_set: in force when the request began.
        request: as it was decoded.
        caller: whose labels conditions look at.
        at: when the request came; aware.
        headers: of the request, by lower-case name.
        secret_salt: keys the hash of what sticks; at least one byte.
        seed: of the decision; what does not stick is drawn by it.
        meaning_of: what a model's name stands for; asked only when a rule wants to know.
        api: which API was called, ``chat`` or ``embeddings``.
    """
    matcher = rule_set.matcher
    asked = Asked(request, api=api, at=at, headers=headers, labels=caller.labels)
    fixed = matcher.fixed(asked)
    if not fixed:
        return Ruled(request=request, labels=caller.labels, version=rule_set.version)
    work = _Work(rule_set, request, caller, asked, meaning_of)
    if matcher.needs_names:
        work.look_up()
    live = fixed & matcher.moving(asked)
    while live:
        bit = live & -live
        rule = rule_set.rules[bit.bit_length() - 1]
        work.has_moved = False
        work.apply(rule, seed=seed, salt=secret_salt)
        if work.denial is not None or rule.stop:
            break
        if work.has_moved:
            live = fixed & matcher.moving(asked)
        live &= ~((bit << 1) - 1)
    return work.ruled()


class _Work:
    """The request while rules are being applied to it."""

    __slots__ = (
        "_asked",
        "_caller",
        "_given",
        "_has_other_models",
        "_labels",
        "_meaning_of",
        "_meanings",
        "_mirror",
        "_models",
        "_preferences",
        "_request",
        "_rule_set",
        "_rules",
        "_splits",
        "denial",
        "has_moved",
    )

    def __init__(
        self,
        rule_set: RuleSet,
        request: ChatRequest,
        caller: Caller,
        asked: Asked,
        meaning_of: Callable[[str], Meaning],
    ) -> None:
        self._rule_set = rule_set
        self._request = request
        self._caller = caller
        self._asked = asked
        self._meaning_of = meaning_of
        self._meanings: dict[str, Meaning] = {}
        default = caller.default_model
        self._models = request.models or ((default,) if default is not None else ())
        self._preferences = request.provider
        self._labels: Mapping[str, str] = caller.labels
        self._rules: list[str] = []
        self._splits: list[Assignment] = []
        self._mirror: Mirror | None = None
        self._given: set[str] = set()
        self._has_other_models = False
        self.denial: Denial | None = None
        self.has_moved = False

    def look_up(self) -> None:
        """Tell the conditions what the models are now, and which providers are named."""
        names: list[str] = []
        providers = [*self._preferences.only, *self._preferences.order]
        for name in self._models:
            meaning = self._meaning(name)
            names.append(name)
            if meaning.model != name:
                names.append(meaning.model)
            if meaning.provider is not None:
                providers.append(meaning.provider)
        self._asked.names = names
        self._asked.providers = providers

    def apply(self, rule: Rule, *, seed: int, salt: bytes) -> None:
        then = rule.then
        self._rules.append(rule.name)
        if then.deny is not None:
            self.denial = Denial(rule=rule.name, message=then.deny)
            return
        try:
            self._change(then, rule)
            if then.split is not None:
                assignment, arm = assign(
                    rule.name, then.split, self._request, self._caller, seed=seed, salt=salt
                )
                self._splits.append(assignment)
                self._change(arm, rule)
        except ContradictionError as exc:
            self.denial = Denial(rule=rule.name, message=_contradiction(rule.name, exc))
            return
        if then.mirror is not None and self._mirror is None:
            self._mirror = _mirror(rule.name, then.mirror, seed)
        if self.has_moved and self._rule_set.matcher.needs_names:
            self.look_up()

    def ruled(self) -> Ruled:
        request = self._request
        if self._preferences is not request.provider or self._has_other_models:
            models = self._models if self._has_other_models else request.models
            request = msgspec.structs.replace(request, provider=self._preferences, models=models)
        return Ruled(
            request=request,
            labels=self._labels,
            rules=tuple(self._rules),
            version=self._rule_set.version,
            denial=self.denial,
            mirror=None if self.denial is not None else self._mirror,
            splits=tuple(self._splits),
            has_other_models=self._has_other_models,
            given_models=frozenset(self._given),
        )

    def _change(self, change: Change, rule: Rule) -> None:
        before = self._preferences
        if change.set is not None:
            self._preferences = overlay(self._preferences, change.set)
        if change.tighten is not None:
            self._preferences = tighten(self._preferences, change.tighten)
        if change.replace_models:
            self._replace(change.replace_models, rule.when)
        if change.add_models:
            self._take((*self._models, *change.add_models), change.add_models)
        if change.labels:
            self._labels = self._asked.labels = {**self._labels, **change.labels}
            self.has_moved = True
        if _names_providers(before, self._preferences):
            self.has_moved = True

    def _replace(self, new: tuple[str, ...], when: When) -> None:
        """In the place of the models that the rule asked for, or of all."""
        models: list[str] = []
        for name in self._models:
            if when.models and not self._is_asked_for(name, when.models):
                models.append(name)
            else:
                models += new
        self._take(tuple(models or new), new)

    def _take(self, models: tuple[str, ...], given: tuple[str, ...]) -> None:
        self._models = tuple(dict.fromkeys(models))
        self._has_other_models = True
        # A name that the caller sent too keeps the meaning that it has in the caller's words.
        self._given |= {name for name in given if name not in self._request.models}
        self.has_moved = True

    def _is_asked_for(self, name: str, patterns: tuple[str, ...]) -> bool:
        return any(
            matches(pattern, name) or matches(pattern, self._meaning(name).model)
            for pattern in patterns
        )

    def _meaning(self, name: str) -> Meaning:
        if name in self._given:
            return Meaning(model=name)
        known = self._meanings.get(name)
        if known is None:
            known = self._meanings[name] = self._meaning_of(name)
        return known


def _names_providers(before: ProviderPreferences, after: ProviderPreferences) -> bool:
    return after is not before and (after.only != before.only or after.order != before.order)


def _mirror(rule: str, mirroring: Mirroring, seed: int) -> Mirror | None:
    draw = draw_of(seed, "mirror", rule)
    if draw >= mirroring.share:
        return None
    return Mirror(rule=rule, to=mirroring.to, share=mirroring.share, draw=draw)


def _contradiction(rule: str, exc: ContradictionError) -> str:
    return (
        f"the rule `{rule}` of this installation allows {', '.join(exc.allowed)} in "
        f"`provider.{exc.member}`, and the request {', '.join(exc.asked)} alone: "
        "name something that both allow"
    )
