"""Lets keys in as fast, and as often at once, as their limits allow."""

import math
import time
from collections.abc import Callable
from uuid import UUID

import msgspec

from gateway.domain.caller import Caller
from gateway.domain.errors import RateLimitedError
from gateway.ledger.limit_table import LimitTable, Place, TableBusyError
from gateway.ledger.rate import Level, is_enough, level, take, wait_s

_SOON_S = 1.0

Headers = list[tuple[str, str]]


class Permit(msgspec.Struct, kw_only=True):
    """One request that was let in. Give it back exactly once."""

    key_id: UUID
    tokens_per_minute: int | None
    tokens: int
    """Taken for it, before its true number was known."""
    requests: Level | None
    tokens_level: Level | None
    is_open: bool
    """Counts among the open requests of its key."""
    is_counted: bool


class Limiter:
    """The limits of keys, as all workers of this node keep them together."""

    def __init__(
        self,
        table: LimitTable,
        *,
        is_enforced: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Limit with a table.

        Args:
            table: shared by the workers of the node.
            is_enforced: False counts what would be refused, and lets it in.
            clock: monotonic seconds, the same in all processes of the node.
        """
        self._table = table
        self._is_enforced = is_enforced
        self._clock = clock
        self.refused = 0
        self.shadow_refused = 0
        self.unchecked = 0
        """Let in without a look, since the table could not be locked."""

    def enter(self, caller: Caller, tokens: int) -> Permit:
        """Let a request in and count it.

        Args:
            caller: with at least one limit.
            tokens: what it is expected to need, prompt and answer.

        Raises:
            RateLimitedError: a limit is reached; says which, and when to come back.
        """
        table, now_s = self._table, self._clock()
        try:
            table.lock()
        except TableBusyError:
            self.unchecked += 1
            return _unchecked(caller)
        try:
            place = table.find(caller.key_id, now_s)
            refusal = _refusal(table, caller, place, tokens, now_s)
            if refusal is None or not self._is_enforced:
                _count(caller, place, tokens, now_s)
                table.store(place, now_s)
                if caller.concurrency is not None:
                    table.open_one(place)
        except TableBusyError:
            self.unchecked += 1
            return _unchecked(caller)
        finally:
            table.unlock()
        requests, tokens_level = _levels(caller, place, now_s)
        if refusal is not None:
            if self._is_enforced:
                self.refused += 1
                refusal.headers = tuple(rate_headers(requests, tokens_level))
                raise refusal
            self.shadow_refused += 1
        return Permit(
            key_id=caller.key_id,
            tokens_per_minute=caller.tokens_per_minute,
            tokens=tokens,
            requests=requests,
            tokens_level=tokens_level,
            is_open=caller.concurrency is not None,
            is_counted=True,
        )

    def leave(self, permit: Permit, tokens: int | None) -> None:
        """A request is over; ``tokens`` is what it needed, None where nothing is known."""
        if not permit.is_counted:
            return
        permit.is_counted = False
        table = self._table
        if permit.is_open:
            table.close_one(permit.key_id)
        per_minute = permit.tokens_per_minute
        if per_minute is None or tokens is None:
            return
        now_s = self._clock()
        try:
            table.lock()
        except TableBusyError:
            self.unchecked += 1
            return
        try:
            place = table.find(permit.key_id, now_s)
            taken = min(permit.tokens, per_minute)
            place.tokens_full_at_s += (min(tokens, per_minute) - taken) * 60 / per_minute
            table.store(place, now_s)
        except TableBusyError:
            self.unchecked += 1
        finally:
            table.unlock()

    def close(self) -> None:
        self._table.close()


def is_limited(caller: Caller) -> bool:
    """Whether a key has a limit of its own."""
    return (
        caller.requests_per_minute is not None
        or caller.tokens_per_minute is not None
        or caller.concurrency is not None
    )


def rate_headers(requests: Level | None, tokens: Level | None) -> Headers:
    """What clients are told: the tighter of the two in the IETF's words, both in OpenAI's."""
    found = [one for one in (requests, tokens) if one is not None]
    if not found:
        return []
    tightest = min(found, key=_share_left)
    headers = [
        ("ratelimit-limit", str(tightest.limit)),
        ("ratelimit-remaining", str(tightest.remaining)),
        ("ratelimit-reset", str(math.ceil(tightest.reset_s))),
    ]
    for name, one in (("requests", requests), ("tokens", tokens)):
        if one is not None:
            headers += [
                (f"x-ratelimit-limit-{name}", str(one.limit)),
                (f"x-ratelimit-remaining-{name}", str(one.remaining)),
                (f"x-ratelimit-reset-{name}", f"{one.reset_s:.3f}s"),
            ]
    return headers


def _refusal(
    table: LimitTable, caller: Caller, place: Place, tokens: int, now_s: float
) -> RateLimitedError | None:
    most = caller.concurrency
    if most is not None and (count := table.count_open(place)) >= most:
        return _refused(
            f"{count} requests of this key are open, and {most} may be",
            "concurrency_limit_exceeded",
            _SOON_S,
        )
    per_minute = caller.requests_per_minute
    if per_minute is not None and not is_enough(place.requests_full_at_s, now_s, 1, per_minute):
        return _refused(
            f"this key may send {per_minute} requests a minute",
            "rate_limit_exceeded",
            wait_s(place.requests_full_at_s, now_s, 1, per_minute),
        )
    per_minute = caller.tokens_per_minute
    if per_minute is not None and not is_enough(place.tokens_full_at_s, now_s, tokens, per_minute):
        return _refused(
            f"this key may use {per_minute} tokens a minute, and this request may need {tokens}",
            "tokens_limit_exceeded",
            wait_s(place.tokens_full_at_s, now_s, tokens, per_minute),
        )
    return None


def _refused(what: str, code: str, after_s: float) -> RateLimitedError:
    return RateLimitedError(
        f"{what}; try again in {math.ceil(after_s)} s", code=code, retry_after_s=after_s
    )


def _count(caller: Caller, place: Place, tokens: int, now_s: float) -> None:
    if caller.requests_per_minute is not None:
        place.requests_full_at_s = take(
            place.requests_full_at_s, now_s, 1, caller.requests_per_minute
        )
    if caller.tokens_per_minute is not None:
        place.tokens_full_at_s = take(
            place.tokens_full_at_s, now_s, tokens, caller.tokens_per_minute
        )


def _levels(caller: Caller, place: Place, now_s: float) -> tuple[Level | None, Level | None]:
    of_requests, of_tokens = caller.requests_per_minute, caller.tokens_per_minute
    return (
        None if of_requests is None else level(place.requests_full_at_s, now_s, of_requests),
        None if of_tokens is None else level(place.tokens_full_at_s, now_s, of_tokens),
    )


def _unchecked(caller: Caller) -> Permit:
    return Permit(
        key_id=caller.key_id,
        tokens_per_minute=caller.tokens_per_minute,
        tokens=0,
        requests=None,
        tokens_level=None,
        is_open=False,
        is_counted=False,
    )


def _share_left(one: Level) -> float:
    return one.remaining / one.limit
