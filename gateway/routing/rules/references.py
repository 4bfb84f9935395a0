"""Whether what rules name is there: models, providers and endpoints of a catalogue."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from gateway.routing.names import AUTO_NAMES, VARIANTS
from gateway.routing.patterns import is_named_by, matches
from gateway.routing.rules.lines import Lines
from gateway.routing.rules.problems import Problem, nearest
from gateway.routing.rules.rule_set import RuleSet
from gateway.routing.rules.values import Change, Rule, Wishes
from pricing.catalogue import Catalogue

_Path = tuple[str | int, ...]


def check_references(
    rule_set: RuleSet,
    catalogue: Catalogue,
    *,
    text: str,
    aliases: Mapping[str, str] | None = None,
    shipped: Catalogue | None = None,
) -> list[Problem]:
    """What the rules name and nobody here knows.

    A name beside others that are known is a warning, since it may come back with its provider. An
    error is what could never be served: a replacement, a mirror or an ``only`` of which nothing is
    known.

    Args:
        rule_set: compiled from ``text``.
        catalogue: of this installation.
        text: where lines are found.
        aliases: the operator's names for models.
        shipped: what there is besides; a name of its own is a warning, since its provider may be
            enabled where the rules will hold.
    """
    return list(_Checker(rule_set, catalogue, Lines(text), aliases or {}, shipped).check())


class _Checker:
    def __init__(
        self,
        rule_set: RuleSet,
        catalogue: Catalogue,
        lines: Lines,
        aliases: Mapping[str, str],
        shipped: Catalogue | None,
    ) -> None:
        self._rule_set = rule_set
        self._catalogue = catalogue
        self._shipped = shipped
        self._lines = lines
        self._aliases = aliases
        self._place = 0

    def check(self) -> Iterator[Problem]:
        for place, rule in enumerate(self._rule_set.rules):
            self._place = place
            if rule.enabled:
                yield from self._rule(rule)

    def _rule(self, rule: Rule) -> Iterator[Problem]:
        for pattern in rule.when.models:
            if not self._is_some_model(pattern):
                yield self._told(rule, ("when", "models"), self._about_model(pattern))
        for pattern in rule.when.providers:
            if not any(matches(pattern, provider) for provider in self._providers):
                message = f"no provider is called {pattern!r}{nearest(pattern, self._providers)}"
                yield self._told(rule, ("when", "providers"), message)
        yield from self._change(rule, rule.then, ("then",))
        split, mirror = rule.then.split, rule.then.mirror
        for number, arm in enumerate(split.arms if split is not None else ()):
            yield from self._change(rule, arm, ("then", "split", "arms", number))
        if mirror is not None and not self._is_endpoint_or_model(mirror.to):
            yield self._told(
                rule,
                ("then", "mirror", "to"),
                self._about_model(mirror.to),
                is_hopeless=not self._may_come(mirror.to, _knows_endpoint),
            )

    def _change(self, rule: Rule, change: Change, path: _Path) -> Iterator[Problem]:
        for member in ("replace_models", "add_models"):
            names: tuple[str, ...] = getattr(change, member)
            unknown = [name for name in names if not self._is_model(name)]
            # Nothing to add is nothing lost; nothing to put in place is a request lost.
            is_hopeless = (
                member == "replace_models"
                and len(unknown) == len(names)
                and not any(self._may_come(name, _knows_model) for name in names)
            )
            for name in unknown:
                yield self._told(
                    rule, (*path, member), self._about_model(name), is_hopeless=is_hopeless
                )
        for verb, wishes in (("set", change.set), ("tighten", change.tighten)):
            if wishes is not None:
                yield from self._wishes(rule, wishes, (*path, verb))

    def _wishes(self, rule: Rule, wishes: Wishes, path: _Path) -> Iterator[Problem]:
        for member in ("only", "order", "ignore"):
            if member not in wishes.members:
                continue
            slugs: tuple[str, ...] = getattr(wishes.values, member)
            unknown = [slug for slug in slugs if not _knows_provider(self._catalogue, slug)]
            is_hopeless = (
                member == "only"
                and len(unknown) == len(slugs)
                and not any(self._may_come(slug, _knows_provider) for slug in slugs)
            )
            for slug in unknown:
                yield self._told(
                    rule, (*path, member), self._about_provider(slug), is_hopeless=is_hopeless
                )

    @property
    def _providers(self) -> Collection[str]:
        return self._catalogue.providers

    def _is_model(self, name: str) -> bool:
        return name in self._aliases or _knows_model(self._catalogue, name)

    def _is_some_model(self, pattern: str) -> bool:
        if "*" not in pattern:
            return self._is_model(pattern)
        names = (*self._catalogue.endpoints_by_model, *self._aliases)
        return any(matches(pattern, name) for name in names)

    def _is_endpoint_or_model(self, name: str) -> bool:
        return name in self._aliases or _knows_endpoint(self._catalogue, name)

    def _may_come(self, name: str, knows: Callable[[Catalogue, str], bool]) -> bool:
        return self._shipped is not None and knows(self._shipped, name)

    def _about_provider(self, slug: str) -> str:
        if self._may_come(slug, _knows_provider):
            return f"{slug!r} is not enabled here"
        return f"no provider or endpoint is called {slug!r}{nearest(slug, self._providers)}"

    def _about_model(self, name: str) -> str:
        if self._may_come(name, _knows_endpoint):
            return f"no provider of {name!r} is enabled here"
        near = self._catalogue.nearest(name.strip("*"))
        hint = f"; nearest are {', '.join(near)}" if near else ""
        return f"nobody serves {name!r} here{hint}"

    def _told(self, rule: Rule, path: _Path, message: str, *, is_hopeless: bool = False) -> Problem:
        return Problem(
            source=self._rule_set.source,
            line=self._lines.of_rule(self._place, path),
            rule=rule.name,
            where=".".join(str(part + 1) if isinstance(part, int) else part for part in path),
            message=message,
            severity="error" if is_hopeless else "warning",
        )


def _knows_model(catalogue: Catalogue, name: str) -> bool:
    base, colon, suffix = name.rpartition(":")
    names: Iterable[str] = (name, base) if colon + suffix in VARIANTS else (name,)
    return any(
        one in AUTO_NAMES
        or catalogue.model_named(one) is not None
        or bool(catalogue.models_of_slug(one))
        for one in names
    )


def _knows_endpoint(catalogue: Catalogue, name: str) -> bool:
    return name in catalogue.endpoints_by_id or _knows_model(catalogue, name)


def _knows_provider(catalogue: Catalogue, slug: str) -> bool:
    if slug in catalogue.providers:
        return True
    return any(is_named_by(one, slug) for one in catalogue.endpoints_by_id.values())
