"""What other rules would have changed, added up over logged requests. Pure."""

from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from gateway.domain.ids import to_generation_id
from gateway.routing.logged import Answer, LoggedRequest, NotReplayed
from gateway.routing.replaying import Decision, Situation
from pricing.catalogue import Catalogue
from pricing.cost import difference_usd, sum_known
from pricing.savings import cost_at_usd

NotPriced: TypeAlias = Literal["refused", "not_answered", "no_price"]
"""Why no difference of cost can be told: one side serves nobody; there is no usage, since nobody
answered; an endpoint has no price for that time."""

MOST_MOVES = 200
MOST_EXAMPLES = 20
_Move: TypeAlias = tuple[str | None, str | None]


class MoveRow(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Requests that go from one endpoint to another; to the same one where nothing changes."""

    from_: str | None
    """Under the rules in force; None when they refuse the request."""
    to: str | None
    """Under the rules tried; None when they refuse the request."""
    requests: int
    priced: int
    """Of these, those whose difference of cost is known."""
    difference_usd: Decimal | None
    """Of the priced ones; None when there are none."""


class Example(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A request that would have gone elsewhere."""

    id: str
    """As clients see it, for `tollway requests show`."""
    received_at: datetime
    requested_model: str
    from_: str | None
    to: str | None
    old_cost_usd: Decimal | None
    """Of the recorded usage, at the price of then."""
    new_cost_usd: Decimal | None
    refusal: str | None
    """Why one side would refuse it."""
    old_rules: tuple[str, ...]
    """Names of those that apply."""
    new_rules: tuple[str, ...]


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """How well deciding again meets what was decided then, where it should."""

    requests: int
    """Those that were decided under the very rules that are in force now."""
    same: int
    """Of these, those for which the same endpoint was drawn again."""


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules tried would have made of logged requests."""

    since: datetime
    until: datetime
    sample: int
    """The most that were to be looked at."""
    requests: int
    """Those that were looked at, the newest of the period."""
    is_complete: bool
    """There are no more in the period."""
    oldest_at: datetime | None
    """When the oldest of them came; None when there are none."""
    old_version: str | None
    """Of the rules in force; None without rules."""
    new_version: str | None
    replayed: int
    not_replayed: dict[NotReplayed, int]
    """Why the others could not be decided again."""
    changed: int
    """Of the replayed ones, those that another endpoint would have got, or nobody."""
    changed_share: float | None
    """Of the replayed ones; None when there are none."""
    newly_refused: int
    no_longer_refused: int
    priced: int
    """Of the changed ones, those whose costs on both sides are known."""
    not_priced: dict[NotPriced, int]
    old_cost_usd: Decimal
    """Of the priced ones."""
    new_cost_usd: Decimal
    difference_usd: Decimal
    """New less old: below zero is cheaper."""
    recorded_cost_usd: Decimal
    """What all requests looked at did cost, as far as that is known: the scale."""
    reproduced: Reproduced
    moves: tuple[MoveRow, ...]
    """The commonest 200, unchanged ones included."""
    moves_left_out: int
    """Requests of moves beyond those."""
    examples: tuple[Example, ...]
    """Up to 20, of as many different moves as there are."""


class ReplayTally:
    """Adds up what became of each request."""

    def __init__(self, catalogue: Catalogue, *, old_version: str | None) -> None:
        self._catalogue = catalogue
        self._old_version = old_version
        self._not_replayed: Counter[NotReplayed] = Counter()
        self._not_priced: Counter[NotPriced] = Counter()
        self._moves: Counter[_Move] = Counter()
        self._priced: Counter[_Move] = Counter()
        self._differences: dict[_Move, Decimal] = {}
        self._examples: dict[_Move, list[Example]] = {}
        self._old_usd = self._new_usd = self._recorded_usd = Decimal(0)
        self._reproducible = self._reproduced = 0
        self._oldest_at: datetime | None = None
        self.requests = 0

    def skip(self, logged: LoggedRequest, reason: NotReplayed) -> None:
        """Count a request that could not be decided again."""
        self._look_at(logged)
        self._not_replayed[reason] += 1

    def add(
        self, logged: LoggedRequest, situation: Situation, old: Decision, new: Decision
    ) -> None:
        """Count a request that was decided again."""
        self._look_at(logged)
        if situation.drawn is not None and logged.rule_version == self._old_version:
            self._reproducible += 1
            self._reproduced += situation.drawn == old.endpoint
        move = (old.endpoint, new.endpoint)
        self._moves[move] += 1
        if old.endpoint == new.endpoint:
            return
        old_usd = self._cost_usd(old.endpoint, logged.answer)
        new_usd = self._cost_usd(new.endpoint, logged.answer)
        examples = self._examples.setdefault(move, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(_example(logged, old, new, old_usd, new_usd))
        if old_usd is None or new_usd is None:
            self._not_priced[_why(move, logged.answer)] += 1
            return
        self._priced[move] += 1
        self._old_usd = _plus(self._old_usd, old_usd)
        self._new_usd = _plus(self._new_usd, new_usd)
        self._differences[move] = _plus(
            self._differences.get(move, Decimal(0)), difference_usd(new_usd, old_usd)
        )

    def report(
        self,
        *,
        since: datetime,
        until: datetime,
        sample: int,
        is_complete: bool,
        new_version: str | None,
    ) -> ReplayReport:
        """Everything that was added."""
        replayed = self._moves.total()
        changed = {move: count for move, count in self._moves.items() if move[0] != move[1]}
        ordered = sorted(self._moves, key=lambda move: (-self._moves[move], str(move)))
        return ReplayReport(
            since=since,
            until=until,
            sample=sample,
            requests=self.requests,
            is_complete=is_complete,
            oldest_at=self._oldest_at,
            old_version=self._old_version,
            new_version=new_version,
            replayed=replayed,
            not_replayed=dict(self._not_replayed.most_common()),
            changed=sum(changed.values()),
            changed_share=sum(changed.values()) / replayed if replayed else None,
            newly_refused=sum(count for (_, to), count in changed.items() if to is None),
            no_longer_refused=sum(count for (was, _), count in changed.items() if was is None),
            priced=self._priced.total(),
            not_priced=dict(self._not_priced.most_common()),
            old_cost_usd=self._old_usd,
            new_cost_usd=self._new_usd,
            difference_usd=difference_usd(self._new_usd, self._old_usd),
            recorded_cost_usd=self._recorded_usd,
            reproduced=Reproduced(requests=self._reproducible, same=self._reproduced),
            moves=tuple(self._row(move) for move in ordered[:MOST_MOVES]),
            moves_left_out=sum(self._moves[move] for move in ordered[MOST_MOVES:]),
            examples=self._chosen([move for move in ordered if move in self._examples]),
        )

    def _look_at(self, logged: LoggedRequest) -> None:
        self.requests += 1
        self._oldest_at = logged.received_at
        if logged.cost_usd is not None:
            self._recorded_usd = _plus(self._recorded_usd, logged.cost_usd)

    def _row(self, move: _Move) -> MoveRow:
        return MoveRow(
            from_=move[0],
            to=move[1],
            requests=self._moves[move],
            priced=self._priced[move],
            difference_usd=self._differences.get(move),
        )

    def _chosen(self, moves: list[_Move]) -> tuple[Example, ...]:
        """One of each move, the commonest first, then a second one of each, and so on."""
        chosen: list[Example] = []
        for turn in range(MOST_EXAMPLES):
            for move in moves:
                if turn < len(self._examples[move]) and len(chosen) < MOST_EXAMPLES:
                    chosen.append(self._examples[move][turn])
        return tuple(chosen)

    def _cost_usd(self, endpoint: str | None, answer: Answer | None) -> Decimal | None:
        if endpoint is None or answer is None:
            return None
        return cost_of_answer_usd(endpoint, answer, self._catalogue)


def cost_of_answer_usd(endpoint: str, answer: Answer, catalogue: Catalogue) -> Decimal | None:
    """What the usage of an answer costs at an endpoint, by the price of then.

    At the one that answered, what it did cost; None where that cannot be told.
    """
    if endpoint == answer.endpoint and answer.cost_usd is not None:
        return answer.cost_usd
    found = catalogue.endpoints_by_id.get(endpoint)
    if found is None or answer.usage is None:
        return None
    # Another provider would have processed it where it does, whatever that one calls the place.
    is_same = found.provider == answer.endpoint.partition("/")[0]
    return cost_at_usd(
        found,
        usage=answer.usage,
        at=answer.started_at,
        service_tier=answer.service_tier,
        region=answer.served_region if is_same else None,
    )


def _why(move: _Move, answer: Answer | None) -> NotPriced:
    if None in move:
        return "refused"
    return "not_answered" if answer is None or answer.usage is None else "no_price"


def _example(
    logged: LoggedRequest,
    old: Decision,
    new: Decision,
    old_usd: Decimal | None,
    new_usd: Decimal | None,
) -> Example:
    return Example(
        id=to_generation_id(logged.id),
        received_at=logged.received_at,
        requested_model=logged.requested_model,
        from_=old.endpoint,
        to=new.endpoint,
        old_cost_usd=old_usd,
        new_cost_usd=new_usd,
        refusal=new.refusal or old.refusal,
        old_rules=old.rules,
        new_rules=new.rules,
    )


def _plus(total: Decimal, amount: Decimal) -> Decimal:
    return sum_known(total, amount) or Decimal(0)
