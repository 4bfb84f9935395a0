"""Founds the made-up organisation: its keys, budgets, prices and rules, dated back to its start.

What was founded once is found again: a second start adds nothing, one after a start that was broken
off goes on with the same past.
"""

import hmac
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from uuid import UUID

import msgspec

from gateway.demo.catalogue import simulated_catalogue
from gateway.demo.scenario import (
    DAYS,
    HABITS,
    LIMITS,
    Habit,
    Pricing,
    incidents,
    midnight_of,
    price_changes,
    rule_sets,
)
from gateway.demo.traffic import World
from gateway.domain.budgets import Budget
from gateway.domain.caller import Caller
from gateway.domain.keys import digest_key, make_key
from gateway.routing.rules.rule_set import compile_rules
from gateway.storage.audit import add_entry, list_entries
from gateway.storage.budget_changes import BudgetChange, change_budget
from gateway.storage.budgets import (
    StoredBudget,
    insert_budget,
    list_budgets,
    read_states,
)
from gateway.storage.engine import Connection
from gateway.storage.keys import StoredKey, insert_key, list_keys
from gateway.storage.price_changes import add_price_change, load_price_changes, lock_prices
from gateway.storage.rule_sets import active_rule_set, add_rule_set
from pricing.catalogue import Catalogue
from pricing.cost import from_nano_usd, to_nano_usd
from pricing.deciding import PriceWish, decide
from pricing.operator_layer import apply_changes

ACTOR = "demo"
_SUBJECT = "demo"
_BEGUN, _DONE = "demo.begin", "demo.end"
_SEED = 20_261_121
_AT_FIRST_USD = Decimal(1_000_000)
"""A budget's limit follows from what turns out to be spent; until then nobody is told of any."""


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """The past that an installation was given, or is to be given."""

    now: datetime
    """When it was begun; everything lies before."""
    requests: int
    days: int = DAYS
    seed: int = _SEED
    is_complete: bool = False

    @property
    def begin(self) -> datetime:
        return midnight_of(self.now) - timedelta(days=self.days + 1)


async def find_past(connection: Connection) -> Past | None:
    """What was begun here before; None when nothing was."""
    begun = await list_entries(connection, before_id=None, limit=1, action=_BEGUN, actor=ACTOR)
    if not begun:
        return None
    done = await list_entries(connection, before_id=None, limit=1, action=_DONE, actor=ACTOR)
    past = msgspec.convert(begun[0].after, Past, strict=False)
    return msgspec.structs.replace(past, is_complete=bool(done))


async def found(connection: Connection, past: Past, *, pepper: bytes, with_rules: bool) -> None:
    """Make the keys, budgets, prices and rules, in one transaction.

    Args:
        connection: in a transaction, which the caller commits.
        past: to be remembered as begun.
        pepper: of the installation; the keys' secrets follow from it.
        with_rules: False where a file holds the rules, or the database has some already.
    """
    for habit in HABITS:
        await _add_key(connection, habit, past, pepper)
    for index, limit in enumerate(LIMITS, start=1):
        await insert_budget(
            connection,
            StoredBudget(
                id=UUID(bytes=hmac.digest(pepper, f"demo budget {index}".encode(), "md5")),
                name=limit.name,
                labels=limit.labels,
                period=limit.period,
                limit_nusd=to_nano_usd(_AT_FIRST_USD),
                mode=limit.mode,
                created_at=past.begin,
                created_by=ACTOR,
            ),
        )
    await lock_prices(connection)
    for change in price_changes(past.now):
        await _change_price(connection, change)
    if with_rules and await active_rule_set(connection) is None:
        for text in rule_sets(past.now):
            await add_rule_set(
                connection,
                source=text.source,
                version=compile_rules(text.source, source=text.comment).version or "",
                comment=text.comment,
                at=text.since or past.begin,
                actor=ACTOR,
            )
    await add_entry(
        connection,
        at=past.now,
        actor=ACTOR,
        action=_BEGUN,
        subject=_SUBJECT,
        after={"now": past.now.isoformat(), "requests": past.requests, "days": past.days},
    )


async def read_world(connection: Connection, past: Past) -> World:
    """What the requests of the past met."""
    keys = {key.name: key for key in await list_keys(connection) if key.created_by == ACTOR}
    stored = [one for one in await list_budgets(connection) if one.created_by == ACTOR]
    budgets = [
        Budget(**{field: getattr(one, field) for field in Budget.__struct_fields__})
        for one in stored
    ]
    callers = [_caller(keys[habit.name], budgets) for habit in HABITS]
    active = await active_rule_set(connection)
    texts = rule_sets(past.now) if active is not None and active.created_by == ACTOR else ()
    return World(
        seed=past.seed,
        catalogue=await _read_catalogue(connection),
        callers=tuple(callers),
        budgets=tuple(budgets),
        rules=tuple(
            (text.since or past.begin, compile_rules(text.source, source=text.comment))
            for text in texts
        ),
        incidents=incidents(past.now),
    )


async def finish(connection: Connection, past: Past, *, at: datetime) -> None:
    """Set the budgets' limits by what was spent, and remember that the past is complete."""
    stored = {one.name: one for one in await list_budgets(connection) if one.created_by == ACTOR}
    known = [limit for limit in LIMITS if limit.name in stored]
    states = await read_states(connection, [stored[limit.name] for limit in known], past.now)
    for limit, state in zip(known, states, strict=True):
        spent_usd = from_nano_usd(state.holding.spent_nusd)
        wanted_usd = (spent_usd / Decimal(str(limit.spent))).quantize(
            Decimal("0.1"), rounding=ROUND_CEILING
        )
        change = BudgetChange(limit_usd=max(wanted_usd, limit.at_least_usd))
        await change_budget(connection, limit.name, change, at=at, actor=ACTOR)
    await add_entry(connection, at=at, actor=ACTOR, action=_DONE, subject=_SUBJECT)


def key_text(habit: Habit, pepper: bytes) -> str:
    """The key of a habit as clients send it.

    It follows from the installation's secret, so that it is kept nowhere and live traffic can use
    it after every start.
    """
    return make_key(_Bytes(pepper, habit.name)).text


class _Bytes:
    """Bytes that nobody can guess who does not have the pepper."""

    def __init__(self, pepper: bytes, name: str) -> None:
        self._pepper, self._name, self._count = pepper, name, 0

    def __call__(self, length: int) -> bytes:
        drawn = b""
        while len(drawn) < length:
            message = f"demo key {self._name} {self._count}".encode()
            drawn += hmac.digest(self._pepper, message, "sha256")
            self._count += 1
        return drawn[:length]


async def _add_key(connection: Connection, habit: Habit, past: Past, pepper: bytes) -> None:
    made = make_key(_Bytes(pepper, habit.name))
    number = HABITS.index(habit)
    stored = StoredKey(
        id=UUID(bytes=hmac.digest(pepper, f"demo key id {number}".encode(), "md5")),
        kid=made.kid,
        last4=made.last4,
        name=habit.name,
        labels=habit.labels,
        allowed_models=habit.allowed_models,
        created_at=past.begin + timedelta(minutes=7 * number),
        created_by=ACTOR,
    )
    await insert_key(connection, stored, digest=digest_key(made.text, pepper))


async def _change_price(connection: Connection, change: Pricing) -> None:
    wish = PriceWish(
        kind="discount" if change.factor is not None else "price",
        target=change.target,
        rates=change.rates,
        factor=change.factor,
        effective_from=change.since,
        reason=change.reason,
    )
    changes = await load_price_changes(connection)
    decided = decide(wish, simulated_catalogue(), changes, at=change.since, actor=ACTOR).change
    await add_price_change(connection, decided)


async def _read_catalogue(connection: Connection) -> Catalogue:
    tables = simulated_catalogue()
    changes = await load_price_changes(connection)
    return apply_changes(
        tables, [change for change in changes if change.target.startswith("simulated-")]
    )


def _caller(key: StoredKey, budgets: list[Budget]) -> Caller:
    caller = Caller(
        key_id=key.id,
        kid=key.kid,
        name=key.name,
        labels=key.labels,
        allowed_models=key.allowed_models,
    )
    is_limited = any(one.mode == "hard" and one.applies_to(caller) for one in budgets)
    return msgspec.structs.replace(caller, has_hard_budget=is_limited)
