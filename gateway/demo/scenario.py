"""The made-up organisation as data: who asks for what, when, and what went wrong meanwhile. Pure.

Everything hangs on the moment that the demo begins at, so that there is always something to see in
the last day and in the last week.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from gateway.chat.dialects import Dialect
from gateway.chat.preferences import SortKey

DAYS = 14
"""How much of a past there is: a week, and the one before to compare it with."""
REQUESTS = 120_000
"""Of which more than 100,000 are of the last seven days."""

_DAY = timedelta(days=1)
_HOURS = 24

_OFFICE = (1, 1, 1, 1, 1, 2, 5, 14, 30, 42, 46, 44, 36, 40, 45, 44, 38, 26, 14, 8, 5, 3, 2, 1)
_EVENING = (9, 5, 3, 2, 2, 3, 6, 11, 15, 17, 18, 20, 23, 21, 20, 22, 26, 32, 40, 46, 47, 40, 28, 16)
_NIGHT = (30, 46, 48, 47, 40, 20, 5, 3, 2, 2, 2, 2, 3, 2, 2, 2, 2, 2, 2, 2, 3, 4, 8, 18)
_STEADY = (
    18,
    17,
    16,
    16,
    17,
    18,
    20,
    23,
    26,
    28,
    29,
    29,
    28,
    28,
    29,
    29,
    28,
    26,
    25,
    24,
    23,
    22,
    20,
    19,
)
Rhythm = Literal["office", "evening", "night", "steady"]
_HOURLY: dict[Rhythm, tuple[int, ...]] = {
    "office": _OFFICE,
    "evening": _EVENING,
    "night": _NIGHT,
    "steady": _STEADY,
}
_AT_WEEKENDS: dict[Rhythm, float] = {"office": 0.12, "evening": 1.3, "night": 1.0, "steady": 0.8}
_GROWTH_PER_DAY = 0.03


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A log-normal quantity."""

    median: float
    sigma: float


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """A key, and what it is used for."""

    name: str
    team: str
    project: str
    environment: str
    share: float
    """Of all requests, about."""
    rhythm: Rhythm
    models: tuple[tuple[str, float], ...]
    prompt_tokens: Spread
    answer_tokens: Spread
    stream: float = 0.0
    """Share of its requests; so are the next three."""
    cached: float = 0.0
    tools: float = 0.0
    schema: float = 0.0
    sort: SortKey | None = None
    dialect: Dialect = Dialect.OPENAI
    users: int = 0
    """How many people are behind it; 0 sends no names."""
    allowed_models: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        return {"team": self.team, "project": self.project, "env": self.environment}

    def weight_of(self, hour: datetime, begin: datetime) -> float:
        """How much of its traffic falls into an hour that lies after ``begin``, relatively."""
        hourly = _HOURLY[self.rhythm]
        of_day = hourly[hour.hour] * _HOURS / sum(hourly)
        of_week = _AT_WEEKENDS[self.rhythm] if hour.isoweekday() > 5 else 1.0  # noqa: PLR2004
        return self.share * of_day * of_week * (1 + _GROWTH_PER_DAY * ((hour - begin) / _DAY))


HABITS: tuple[Habit, ...] = (
    Habit(
        name="support-bot",
        team="support",
        project="helpdesk",
        environment="prod",
        share=0.20,
        rhythm="evening",
        models=(("simulated/chat", 6), ("simulated/fast", 4)),
        prompt_tokens=Spread(median=1_900, sigma=0.5),
        answer_tokens=Spread(median=170, sigma=0.6),
        stream=0.9,
        cached=0.75,
        tools=0.35,
        users=2_400,
    ),
    Habit(
        name="support-triage",
        team="support",
        project="triage",
        environment="prod",
        share=0.12,
        rhythm="steady",
        models=(("simulated/nano", 9), ("simulated/extract", 2)),
        prompt_tokens=Spread(median=420, sigma=0.5),
        answer_tokens=Spread(median=28, sigma=0.5),
        cached=0.3,
        sort="latency",
    ),
    Habit(
        name="search-answers",
        team="search",
        project="answers",
        environment="prod",
        share=0.17,
        rhythm="evening",
        models=(("simulated/fast", 7), ("simulated/smart", 2)),
        prompt_tokens=Spread(median=2_800, sigma=0.45),
        answer_tokens=Spread(median=240, sigma=0.5),
        stream=1.0,
        cached=0.2,
        users=5_000,
        dialect=Dialect.OPENROUTER,
    ),
    Habit(
        name="search-evaluation",
        team="search",
        project="answers",
        environment="staging",
        share=0.03,
        rhythm="night",
        models=(("simulated/fast", 3), ("simulated/smart", 2), ("simulated/preview", 1)),
        prompt_tokens=Spread(median=2_600, sigma=0.4),
        answer_tokens=Spread(median=220, sigma=0.5),
    ),
    Habit(
        name="growth-copy",
        team="growth",
        project="campaigns",
        environment="prod",
        share=0.07,
        rhythm="office",
        models=(("simulated/writer", 6), ("simulated/translate", 5), ("simulated/vision", 2)),
        prompt_tokens=Spread(median=700, sigma=0.7),
        answer_tokens=Spread(median=520, sigma=0.6),
        stream=0.5,
        users=40,
    ),
    Habit(
        name="data-pipeline",
        team="data",
        project="documents",
        environment="prod",
        share=0.13,
        rhythm="night",
        models=(("simulated/extract", 8), ("simulated/long", 2)),
        prompt_tokens=Spread(median=5_200, sigma=0.9),
        answer_tokens=Spread(median=310, sigma=0.5),
        cached=0.4,
        schema=0.8,
        sort="price",
    ),
    Habit(
        name="data-notebooks",
        team="data",
        project="ad-hoc",
        environment="dev",
        share=0.02,
        rhythm="office",
        models=(("simulated/smart", 3), ("simulated/long", 1), ("simulated/retired", 0.4)),
        prompt_tokens=Spread(median=3_500, sigma=1.0),
        answer_tokens=Spread(median=450, sigma=0.7),
        stream=0.6,
        users=12,
    ),
    Habit(
        name="mobile-app",
        team="mobile",
        project="assistant",
        environment="prod",
        share=0.15,
        rhythm="evening",
        models=(("simulated/fast", 5), ("simulated/chat", 3), ("simulated/vision", 1.5)),
        prompt_tokens=Spread(median=950, sigma=0.6),
        answer_tokens=Spread(median=150, sigma=0.6),
        stream=1.0,
        cached=0.5,
        users=9_000,
    ),
    Habit(
        name="mobile-beta",
        team="mobile",
        project="assistant",
        environment="dev",
        share=0.015,
        rhythm="office",
        models=(("simulated/chat", 5), ("simulated/nano", 2), ("simulated/smart", 0.3)),
        prompt_tokens=Spread(median=900, sigma=0.6),
        answer_tokens=Spread(median=150, sigma=0.6),
        stream=1.0,
        users=15,
        allowed_models=("simulated/chat", "simulated/nano", "simulated/fast"),
    ),
    Habit(
        name="research-agents",
        team="research",
        project="agents",
        environment="prod",
        share=0.06,
        rhythm="steady",
        models=(("simulated/code", 6), ("simulated/reason", 3), ("simulated/smart", 2)),
        prompt_tokens=Spread(median=9_500, sigma=0.8),
        answer_tokens=Spread(median=650, sigma=0.7),
        stream=0.3,
        cached=0.85,
        tools=0.7,
        dialect=Dialect.OPENROUTER,
    ),
    Habit(
        name="research-notebooks",
        team="research",
        project="papers",
        environment="dev",
        share=0.015,
        rhythm="office",
        models=(("simulated/reason", 3), ("simulated/preview", 2), ("simulated/long", 2)),
        prompt_tokens=Spread(median=6_000, sigma=1.0),
        answer_tokens=Spread(median=900, sigma=0.7),
        stream=0.8,
        users=8,
    ),
)

Trouble = Literal["outage", "limits", "slow"]


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which a provider was not itself."""

    provider: str
    trouble: Trouble
    since: datetime
    until: datetime
    strength: float
    """The share of calls that failed; of a slow one, the factor."""


def incidents(now: datetime) -> tuple[Incident, ...]:
    """What went wrong before ``now``."""
    midnight = midnight_of(now)

    def incident(
        provider: str, trouble: Trouble, since: datetime, hours: float, strength: float
    ) -> Incident:
        until = since + timedelta(hours=hours)
        return Incident(
            provider=provider, trouble=trouble, since=since, until=until, strength=strength
        )

    return (
        incident("simulated-birch", "outage", midnight - timedelta(hours=34.6), 3.7, 0.97),
        incident("simulated-elm", "outage", midnight - timedelta(hours=117.8), 0.9, 0.7),
        incident("simulated-dune", "limits", now - timedelta(hours=5.5), 0.7, 0.5),
        incident("simulated-dune", "limits", midnight - timedelta(hours=79), 1.5, 0.35),
        incident("simulated-cedar", "slow", now - timedelta(hours=20), 20.0, 2.7),
    )


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """A change of prices that an operator recorded."""

    target: str
    rates: dict[str, str] = {}
    factor: str | None = None
    since: datetime
    reason: str


def price_changes(now: datetime) -> tuple[Pricing, ...]:
    """In the order in which they were recorded."""
    midnight = midnight_of(now)
    return (
        Pricing(
            target="simulated-dune/fast",
            rates={"input_usd_per_mtok": "0.11", "output_usd_per_mtok": "0.44"},
            since=midnight - 3 * _DAY,
            reason="New list price of Simulated Dune",
        ),
        Pricing(
            target="simulated-birch",
            factor="0.9",
            since=midnight - _DAY,
            reason="Volume agreement: ten per cent off",
        ),
    )


class RulesText(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules."""

    source: str
    comment: str
    since: datetime | None
    """None: from the very beginning."""


_SPENDING_CAP = """\
[[rules]]
name = "spending-cap"
description = "Development does not need the dear ones."
when = { labels = { env = "dev" } }
then = { tighten = { max_price = { prompt = 2, completion = 9 } } }
"""
_NIGHTLY_BY_PRICE = """
[[rules]]
name = "documents-by-price"
description = "Nobody waits for the nightly run."
when = { labels = { team = "data", env = "prod" } }
then = { sort = "price" }
"""


def rule_sets(now: datetime) -> tuple[RulesText, ...]:
    """In the order in which they were applied."""
    return (
        RulesText(source=_SPENDING_CAP, comment="Cap what development may cost", since=None),
        RulesText(
            source=_SPENDING_CAP + _NIGHTLY_BY_PRICE,
            comment="The nightly run goes by price",
            since=midnight_of(now) - 5 * _DAY + timedelta(hours=9, minutes=12),
        ),
    )


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A budget; how much of it is spent says how high it is."""

    name: str
    labels: dict[str, str]
    period: Literal["week", "month", "total"]
    mode: Literal["hard", "soft", "shadow"]
    spent: float
    """Share of it that the present window has used up."""
    at_least_usd: Decimal


LIMITS: tuple[Limit, ...] = (
    Limit(
        name="research: agents pilot",
        labels={"team": "research"},
        period="total",
        mode="hard",
        spent=0.94,
        at_least_usd=Decimal(5),
    ),
    Limit(
        name="support: monthly",
        labels={"team": "support"},
        period="month",
        mode="soft",
        spent=0.71,
        at_least_usd=Decimal(5),
    ),
    Limit(
        name="data: weekly",
        labels={"team": "data"},
        period="week",
        mode="soft",
        spent=0.52,
        at_least_usd=Decimal(5),
    ),
    Limit(
        name="everything in development",
        labels={"env": "dev"},
        period="month",
        mode="shadow",
        spent=1.08,
        at_least_usd=Decimal(1),
    ),
)


def midnight_of(now: datetime) -> datetime:
    """The UTC midnight before ``now``."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
