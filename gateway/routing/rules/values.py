"""A rule as a value: what has been read and found right, in the language's own words."""

from typing import Literal

import msgspec

from gateway.chat.preferences import ProviderPreferences

Feature = Literal[
    "tools",
    "images",
    "image_output",
    "schema",
    "json",
    "audio",
    "audio_output",
    "files",
    "video",
    "reasoning",
    "web_search",
    "logprobs",
    "stream",
]
Unit = Literal["request", "session", "key", "user"]

MINUTES_PER_DAY = 24 * 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class TokenRange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of the estimated prompt."""

    min: int = 0
    """Inclusive."""
    max: int | None = None
    """Exclusive; None has no end."""


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """Stretches of the week by the wall clock of a time zone."""

    zone: str
    """An IANA name."""
    days: tuple[str, ...]
    """On which a stretch begins."""
    begin: int
    """Minutes after midnight, inclusive."""
    end: int
    """Exclusive, up to 1440; at or before ``begin`` it is of the next day."""


class When(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that is given must hold; of several values of one member, any."""

    models: tuple[str, ...] = ()
    """Patterns."""
    providers: tuple[str, ...] = ()
    """Patterns."""
    labels: dict[str, tuple[str, ...]] = {}
    """Patterns by name; each name must be there and fit."""
    metadata: dict[str, tuple[str, ...]] = {}
    headers: dict[str, tuple[str, ...]] = {}
    """By lower-case name."""
    prompt_tokens: TokenRange | None = None
    has: tuple[Feature, ...] = ()
    """All of them."""
    lacks: tuple[Feature, ...] = ()
    """All of them."""
    hours: tuple[Hours, ...] = ()
    apis: tuple[str, ...] = ()


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """Some members of a request's ``provider`` object."""

    members: tuple[str, ...]
    """Fields of ``values`` that were given; the others mean nothing."""
    values: ProviderPreferences


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule, or one arm of its split, does to a request."""

    set: Wishes | None = None
    tighten: Wishes | None = None
    replace_models: tuple[str, ...] = ()
    add_models: tuple[str, ...] = ()
    labels: dict[str, str] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """All models that it names."""
        return self.replace_models + self.add_models


class Arm(Change, frozen=True, kw_only=True, omit_defaults=True):
    """One way of a split."""

    name: str
    weight: float
    """Relative to the other arms' weights; 0 gets nothing."""


class Split(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Divides traffic between arms."""

    by: Unit
    """What stays in one arm."""
    salt: str = ""
    """Splits of the same salt and unit divide alike; empty means the rule's name."""
    arms: tuple[Arm, ...]

    @property
    def total(self) -> float:
        """Above zero."""
        return sum(arm.weight for arm in self.arms)


class Mirroring(msgspec.Struct, frozen=True, kw_only=True):
    """Sends a share of the requests to a second endpoint too."""

    to: str
    """An endpoint's id, or a model."""
    share: float
    """Above 0, at most 1."""


class Then(Change, frozen=True, kw_only=True, omit_defaults=True):
    """What happens when the rule applies."""

    split: Split | None = None
    mirror: Mirroring | None = None
    deny: str | None = None
    """The message to the caller."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One policy."""

    name: str
    description: str = ""
    enabled: bool = True
    stop: bool = False
    """No rule behind it is looked at once it has applied."""
    when: When = When()
    then: Then
