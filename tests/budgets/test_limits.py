"""Limits of keys: buckets that fill steadily, shared by the workers of a node."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.caller import Caller
from gateway.domain.errors import RateLimitedError
from gateway.ledger import rate
from gateway.ledger.limit_table import PLACES, open_limits
from gateway.ledger.limits import Limiter
from tests.properties import many
from tests.routing.factories import make_caller


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@given(
    st.integers(1, 1_000),
    st.lists(st.tuples(st.floats(0, 120), st.integers(1, 50)), max_size=60),
)
@settings(max_examples=many(100))
def test_a_bucket_never_lets_more_through_than_its_limit_and_what_filled_it(
    per_minute: int, asked: list[tuple[float, int]]
) -> None:
    full_at_s, now_s = 0.0, 1_000.0
    taken, began_s = 0, 1_000.0
    for pause_s, wanted in asked:
        now_s += pause_s
        amount = min(wanted, per_minute)
        if rate.is_enough(full_at_s, now_s, amount, per_minute):
            full_at_s = rate.take(full_at_s, now_s, amount, per_minute)
            taken += amount
        else:
            wait_s = rate.wait_s(full_at_s, now_s, amount, per_minute)
            assert wait_s > 0
            assert rate.is_enough(full_at_s, now_s + wait_s + 1e-6, amount, per_minute)
        assert taken <= per_minute * (1 + (now_s - began_s) / 60) + 1e-3
        assert 0 <= rate.level(full_at_s, now_s, per_minute).remaining <= per_minute


def test_workers_of_a_node_count_together_and_exactly(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "limits.table"
    workers = [Limiter(open_limits(path, worker=number), clock=clock) for number in range(4)]
    caller = make_caller(requests_per_minute=10, concurrency=100)

    for number in range(10):
        workers[number % 4].enter(caller, 1)
    for one in workers:
        with pytest.raises(RateLimitedError) as caught:
            one.enter(caller, 1)
        assert caught.value.retry_after_s == pytest.approx(6.0)

    clock.now_s += 6.0
    workers[3].enter(caller, 1)
    for one in workers:
        one.close()


def test_tokens_are_put_right_once_they_are_known(tmp_path: Path) -> None:
    limiter = Limiter(open_limits(tmp_path / "limits.table", worker=0), clock=Clock())
    caller = make_caller(tokens_per_minute=1_000)

    limiter.leave(limiter.enter(caller, 400), 100)
    permit = limiter.enter(caller, 50)
    limiter.leave(permit, 450)

    assert permit.tokens_level is not None
    assert permit.tokens_level.remaining == 850
    again = limiter.enter(caller, 1)
    assert again.tokens_level is not None
    assert again.tokens_level.remaining == 449
    limiter.close()


def test_open_requests_are_counted_over_all_workers_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "limits.table"
    first, second = (Limiter(open_limits(path, worker=number)) for number in (0, 1))
    caller = make_caller(concurrency=2)

    permit = first.enter(caller, 1)
    second.enter(caller, 1)
    with pytest.raises(RateLimitedError):
        first.enter(caller, 1)
    first.leave(permit, None)
    first.leave(permit, None)
    first.enter(caller, 1)

    with pytest.raises(RateLimitedError):
        second.enter(caller, 1)
    first.close()
    second.close()


def test_what_an_ended_worker_had_open_is_forgotten_by_the_next_of_its_number(
    tmp_path: Path,
) -> None:
    path = tmp_path / "limits.table"
    killed, other = (Limiter(open_limits(path, worker=number)) for number in (0, 1))
    caller = make_caller(concurrency=2)
    killed.enter(caller, 1)
    other.enter(caller, 1)

    again = Limiter(open_limits(path, worker=0))
    again.enter(caller, 1)

    with pytest.raises(RateLimitedError):
        other.enter(caller, 1)
    for one in (killed, other, again):
        one.close()


def test_a_full_table_makes_room_where_nobody_was_for_long(tmp_path: Path) -> None:
    clock = Clock()
    limiter = Limiter(open_limits(tmp_path / "limits.table", worker=0), clock=clock)

    def caller(number: int) -> Caller:
        return replace(make_caller(requests_per_minute=1), key_id=UUID(int=number + 1))

    for number in range(PLACES):
        limiter.leave(limiter.enter(caller(number), 1), 1)
    limiter.enter(caller(PLACES), 1)
    assert limiter.unchecked == 1, "let in without a look, since every place is in use"

    clock.now_s += 121
    limiter.enter(caller(PLACES), 1)
    with pytest.raises(RateLimitedError):
        limiter.enter(caller(PLACES), 1)
    assert limiter.unchecked == 1
    limiter.close()


def test_a_file_that_cannot_be_used_leaves_every_worker_to_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "limits.table"
    path.write_bytes(b"something else" * 100_000)

    limiter = Limiter(open_limits(path, worker=0))
    limiter.enter(make_caller(requests_per_minute=1), 1)

    with pytest.raises(RateLimitedError):
        limiter.enter(make_caller(requests_per_minute=1), 1)
    assert "every worker counts for itself" in caplog.text
    limiter.close()
