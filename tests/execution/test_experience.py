"""Learned lengths of answers, and which endpoint a conversation is at."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.outcomes import Outcome
from gateway.execution.experience import Experience, ExperienceRules
from gateway.routing.plan import Sticky
from pricing.endpoint import Endpoint
from pricing.usage import Usage
from tests.execution.samples import make_end
from tests.routing.factories import make_endpoint

KEY, OTHER_KEY = UUID(int=1), UUID(int=2)
TALK, OTHER_TALK = b"a conversation..", b"another one....."
ALPHA, BETA = make_endpoint("alpha"), make_endpoint("beta")
SMALL = make_endpoint("alpha", "acme/small")


class Teacher:
    """Experience on a clock that is moved by hand."""

    def __init__(self, rules: ExperienceRules | None = None) -> None:
        self.experience = Experience(rules)
        self.now_ms = 1_000_000.0

    def tell(
        self,
        tokens: int = 10,
        *,
        endpoint: Endpoint = ALPHA,
        outcome: Outcome = Outcome.SUCCESS,
        key_id: UUID = KEY,
        affinity: bytes | None = TALK,
        choices: int = 1,
        **usage: Any,
    ) -> None:
        used = Usage(output_tokens=tokens, **usage) if outcome is Outcome.SUCCESS else None
        self.experience.report(
            make_end(outcome, endpoint=endpoint, usage=used),
            key_id=key_id,
            affinity=affinity,
            choice_count=choices,
            now_ms=self.now_ms,
        )

    def sticky(self, affinity: bytes | None = TALK) -> Sticky | None:
        return self.experience.sticky(affinity, self.now_ms)

    @property
    def stuck_to(self) -> str | None:
        sticky = self.sticky()
        return sticky and sticky.endpoint


@pytest.fixture
def teacher() -> Teacher:
    return Teacher()


def test_lengths_are_learned_by_key_and_model(teacher: Teacher) -> None:
    for tokens in (100, 200, 300):
        teacher.tell(tokens)
        teacher.tell(7, endpoint=SMALL)
        teacher.tell(1_000, key_id=OTHER_KEY)

    assert teacher.experience.learned(KEY) == {"acme/large": 200, "acme/small": 7}
    assert teacher.experience.learned(OTHER_KEY) == {"acme/large": 1_000}
    assert teacher.experience.learned(UUID(int=9)) == {}


def test_two_answers_say_nothing_yet(teacher: Teacher) -> None:
    teacher.tell(100)
    teacher.tell(100)

    assert teacher.experience.learned(KEY) == {}
    assert teacher.experience.output_p95(KEY, "acme/large") is None


def test_several_choices_are_several_answers(teacher: Teacher) -> None:
    for _ in range(3):
        teacher.tell(400, choices=4)

    assert teacher.experience.learned(KEY) == {"acme/large": 100}


def test_what_was_long_ago_counts_less_and_less(teacher: Teacher) -> None:
    for _ in range(1_000):
        teacher.tell(100)
    for _ in range(150):
        teacher.tell(1_000)

    assert teacher.experience.learned(KEY)["acme/large"] > 900


def test_ninety_five_percent_of_answers_are_not_longer(teacher: Teacher) -> None:
    for tokens in range(1, 101):
        teacher.tell(tokens * 10)

    assert teacher.experience.output_p95(KEY, "acme/large") == pytest.approx(950, rel=0.02)
    assert teacher.experience.output_p95(KEY, "acme/small") is None


def test_failures_and_missing_usage_teach_no_length(teacher: Teacher) -> None:
    for _ in range(5):
        teacher.tell(outcome=Outcome.SERVER_ERROR)
        teacher.experience.report(
            make_end(endpoint=ALPHA),
            key_id=KEY, affinity=None, choice_count=1, now_ms=teacher.now_ms,
        )  # fmt: skip

    assert teacher.experience.learned(KEY) == {}


def test_a_conversation_stays_where_it_was_answered(teacher: Teacher) -> None:
    assert teacher.sticky() is None
    teacher.tell(endpoint=BETA)

    assert teacher.stuck_to == BETA.id
    assert teacher.sticky(OTHER_TALK) is None
    assert teacher.sticky(None) is None


def test_five_minutes_idle_and_the_cache_is_taken_for_gone(teacher: Teacher) -> None:
    teacher.tell()
    teacher.now_ms += 299_000
    teacher.tell()
    teacher.now_ms += 300_000
    assert teacher.stuck_to == ALPHA.id
    teacher.now_ms += 1

    assert teacher.sticky() is None


@pytest.mark.parametrize(
    "outcome", [Outcome.SERVER_ERROR, Outcome.RATE_LIMITED, Outcome.AUTH_FAILED, Outcome.READ_ERROR]
)
def test_a_failure_lets_it_go_and_the_next_to_answer_gets_it(
    teacher: Teacher, outcome: Outcome
) -> None:
    teacher.tell()
    teacher.tell(outcome=outcome)
    assert teacher.sticky() is None
    teacher.tell(endpoint=BETA)

    assert teacher.stuck_to == BETA.id


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_CANCELLED, Outcome.INVALID_REQUEST])
def test_what_is_not_the_endpoints_fault_keeps_it(teacher: Teacher, outcome: Outcome) -> None:
    teacher.tell()
    teacher.tell(outcome=outcome)
    teacher.tell(endpoint=BETA, outcome=Outcome.SERVER_ERROR)

    assert teacher.stuck_to == ALPHA.id


def test_the_cached_share_is_what_was_observed(teacher: Teacher) -> None:
    teacher.tell(input_tokens=1_000)
    first = teacher.sticky()
    assert first is not None
    assert first.cached_share == 0.5, "nothing was observed yet"
    for _ in range(8):
        teacher.tell(input_tokens=100, cache_read_tokens=900)

    later = teacher.sticky()
    assert later is not None
    assert later.cached_share == pytest.approx(0.9, abs=0.01)
    teacher.tell(affinity=OTHER_TALK, input_tokens=1_000)
    other = teacher.sticky(OTHER_TALK)
    assert other is not None
    assert other.cached_share == pytest.approx(0.9, abs=0.01), "the endpoint is known by now"


def test_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    teacher = Teacher(ExperienceRules(keys=2, models_per_key=2, conversations=2, least_answers=1))
    for number in (1, 2, 1, 3):
        teacher.tell(key_id=UUID(int=number), affinity=bytes([number]))
        for slug in ("one", "two", "three"):
            endpoint = make_endpoint("alpha", f"acme/{slug}")
            teacher.tell(key_id=UUID(int=number), endpoint=endpoint, affinity=bytes([number]))

    known = [number for number in (1, 2, 3) if teacher.experience.learned(UUID(int=number))]
    assert known == [1, 3]
    assert set(teacher.experience.learned(UUID(int=1))) == {"acme/two", "acme/three"}
    assert [number for number in (1, 2, 3) if teacher.sticky(bytes([number]))] == [1, 3]


@given(st.lists(st.integers(1, 100_000), min_size=3, max_size=80))
def test_the_mean_stays_within_what_was_seen(lengths: list[int]) -> None:
    teacher = Teacher()
    for tokens in lengths:
        teacher.tell(tokens)

    mean = teacher.experience.learned(KEY)["acme/large"]
    assert min(lengths) - 1e-6 <= mean <= max(lengths) + 1e-6
