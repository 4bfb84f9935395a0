"""A provider's own account against ours, by UTC day and model, with what explains a drift. Pure."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from pricing.cost import difference_usd, sum_known

Verdict: TypeAlias = Literal[
    "agrees", "rounding", "missing_here", "missing_there", "day_boundary", "usage", "price",
    "no_model", "unexplained",
]  # fmt: skip
_CENT = Decimal("0.01")
_CLOSE = Decimal("0.001")
_DIGITS = -12
"""The exponent of our own last digit."""
_ONE_DAY = timedelta(days=1)
_NO_MODEL: tuple[Verdict, str] = ("no_model", "a fee of no model, such as of storage or searches")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What one side says of one UTC day and model. None: it does not say."""

    day: date
    model: str
    """The provider's own name of it; '' for fees that belong to none."""
    cost_usd: Decimal | None = None
    prompt_tokens: int | None = None
    """Inclusive: cached ones too."""
    completion_tokens: int | None = None
    requests: int | None = None


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of one day and model."""

    day: date
    model: str
    theirs: Account | None
    ours: Account | None
    difference_usd: Decimal | None
    """Theirs less ours; None where one of them has no cost."""
    verdict: Verdict
    because: str


def reconcile(theirs: Iterable[Account], ours: Iterable[Account]) -> tuple[Drift, ...]:
    """Every day and model that either side knows, in order."""
    theirs, here = list(theirs), _by_place(ours)
    named = _names({one.model for one in theirs}, {model for _, model in here})
    # Several dated versions may be one model of ours.
    there = _by_place(
        msgspec.structs.replace(one, model=named.get(one.model, one.model)) for one in theirs
    )
    places = sorted({*there, *here})
    judged = [_judge(place, there.get(place), here.get(place)) for place in places]
    return tuple(_with_boundaries(judged))


def _by_place(accounts: Iterable[Account]) -> dict[tuple[date, str], Account]:
    """Several of one day and model (projects, keys, kinds of tokens) are one."""
    found: dict[tuple[date, str], Account] = {}
    for one in accounts:
        place = (one.day, one.model)
        known = found.get(place)
        found[place] = one if known is None else _added(known, one)
    return found


def _added(one: Account, other: Account) -> Account:
    costs = [usd for usd in (one.cost_usd, other.cost_usd) if usd is not None]
    return Account(
        day=one.day,
        model=one.model,
        cost_usd=sum_known(*costs) if costs else None,
        prompt_tokens=_sum(one.prompt_tokens, other.prompt_tokens),
        completion_tokens=_sum(one.completion_tokens, other.completion_tokens),
        requests=_sum(one.requests, other.requests),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


def _names(there: AbstractSet[str], ours: AbstractSet[str]) -> dict[str, str]:
    """Our names by theirs: an account names the dated version of what was asked for undated."""
    named: dict[str, str] = {}
    for theirs in there - ours:
        short = [one for one in ours if theirs.startswith(f"{one}-") and _is_date(theirs, one)]
        if len(short) == 1:
            named[theirs] = short[0]
    return named


def _is_date(theirs: str, ours: str) -> bool:
    rest = theirs.removeprefix(f"{ours}-").replace("-", "")
    return rest.isdigit()


def _judge(place: tuple[date, str], theirs: Account | None, ours: Account | None) -> Drift:
    verdict, because = _verdict(theirs, ours) if place[1] else _NO_MODEL
    costs = (theirs and theirs.cost_usd, ours and ours.cost_usd)
    known = costs[0] is not None and costs[1] is not None
    return Drift(
        day=place[0],
        model=place[1],
        theirs=theirs,
        ours=ours,
        difference_usd=difference_usd(costs[0], costs[1]) if known else None,
        verdict=verdict,
        because=because,
    )


def _verdict(theirs: Account | None, ours: Account | None) -> tuple[Verdict, str]:
    if ours is None:
        return "missing_here", "no record of ours: another client of the same account?"
    if theirs is None:
        return "missing_there", "not in their account: another account, or not billed yet"
    usage = _usage_differs(theirs, ours)
    if theirs.cost_usd is None or ours.cost_usd is None:
        if usage is not None:
            return "usage", usage
        if ours.cost_usd is None and theirs.cost_usd is not None:
            return "price", "ours has no price: set one, and 'tollway rerate'"
        return "agrees", "tokens are the same; one side tells no cost"
    difference = abs(difference_usd(theirs.cost_usd, ours.cost_usd))
    if difference == 0:
        return "agrees", "to the last decimal"
    if usage is not None:
        return "usage", usage
    if difference <= _CENT and (
        difference <= theirs.cost_usd * _CLOSE or _is_rounded(theirs.cost_usd, ours.cost_usd)
    ):
        return "rounding", "less than a cent, and less than their account's digits tell"
    if theirs.prompt_tokens is None and theirs.requests is None:
        return "unexplained", "they tell no usage: compare with an export that does"
    return "price", "the usage is the same, the price is not: 'tollway prices show', then rerate"


def _is_rounded(theirs: Decimal, ours: Decimal) -> bool:
    """Ours, at as many digits as theirs has, is theirs."""
    # With very many, not even a decimal has room for ours.
    return int(theirs.as_tuple().exponent) >= _DIGITS and ours.quantize(theirs) == theirs


def _usage_differs(theirs: Account, ours: Account) -> str | None:
    for what in ("prompt_tokens", "completion_tokens", "requests"):
        there: int | None = getattr(theirs, what)
        here: int | None = getattr(ours, what)
        if there is not None and here is not None and there != here:
            return f"{what.replace('_', ' ')}: {there} there, {here} here"
    return None


def _with_boundaries(drifts: Sequence[Drift]) -> Iterable[Drift]:
    """Two neighbouring days whose drifts make up for each other: requests around midnight."""
    by_place = {(one.day, one.model): one for one in drifts}
    moved: set[tuple[date, str]] = set()
    for one in drifts:
        after = by_place.get((one.day + _ONE_DAY, one.model))
        if after is not None and (one.day, one.model) not in moved and _make_up(one, after):
            moved |= {(one.day, one.model), (after.day, after.model)}
    for one in drifts:
        if (one.day, one.model) in moved:
            said = "makes up for the day beside it: requests around midnight UTC"
            yield msgspec.structs.replace(one, verdict="day_boundary", because=said)
        else:
            yield one


def _make_up(one: Drift, after: Drift) -> bool:
    drifts = {"usage", "price", "missing_here", "missing_there", "unexplained"}
    if one.verdict not in drifts or after.verdict not in drifts:
        return False
    apart = difference_usd(_cost(one.theirs), _cost(one.ours))
    back = difference_usd(_cost(after.theirs), _cost(after.ours))
    return bool(apart) and abs(difference_usd(apart, -back)) <= abs(apart) * _CLOSE


def _cost(account: Account | None) -> Decimal | None:
    return None if account is None else account.cost_usd
