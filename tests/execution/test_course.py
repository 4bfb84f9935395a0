"""Where a request goes next: the plan, as health lets it be used."""

import httpx
import pytest

from gateway.domain.outcomes import Outcome
from gateway.execution.access import AccessBook, ProviderAccess
from gateway.execution.course import Course, NoAdvice, Step
from gateway.execution.deadlines import Deadlines
from gateway.providers.base import Quirks
from gateway.providers.registry import adapter_for
from gateway.routing.plan import Candidate
from pricing.endpoint import Endpoint
from tests.routing.factories import make_endpoint

FAILED = Outcome.SERVER_ERROR


class Board(NoAdvice):
    """Health that refuses what it is told to, and counts how often it was asked."""

    def __init__(
        self, *refused: str, out: tuple[int, ...] = (), limited: int | None = None
    ) -> None:
        self.refused = set(refused)
        self.out = out
        self.limited = limited
        self.asked: list[tuple[str, int]] = []

    def may_try(self, endpoint: Endpoint, credential: int) -> bool:
        self.asked.append((endpoint.provider, credential))
        return endpoint.provider not in self.refused

    def credential_is_out(self, provider: str, credential: int) -> bool:
        del provider
        return credential in self.out

    def is_limited(self, endpoint: Endpoint, credential: int) -> bool:
        del endpoint
        return credential == self.limited


def book_of(*endpoints: Endpoint, credentials: int = 1) -> AccessBook:
    return AccessBook(
        {
            endpoint.provider: ProviderAccess(
                id=endpoint.provider,
                base_url="http://127.0.0.1/v1",
                adapter=adapter_for("openai"),
                quirks=Quirks(),
                transport=httpx.MockTransport(lambda _: httpx.Response(200)),
                secret="sk-0",
                further_secrets=tuple(f"sk-{n}" for n in range(1, credentials)),
                deadlines=Deadlines(),
            )
            for endpoint in endpoints
        }
    )


@pytest.fixture
def endpoints() -> list[Endpoint]:
    return [make_endpoint(provider) for provider in ("a", "b", "c")]


def course_of(endpoints: list[Endpoint], board: NoAdvice, *, credentials: int = 1) -> Course:
    candidates = [
        Candidate(endpoint=endpoint, price=None, expected_cost_usd=None) for endpoint in endpoints
    ]
    return Course(candidates, book_of(*endpoints, credentials=credentials), board)


def test_endpoints_are_tried_in_the_order_of_the_plan(endpoints: list[Endpoint]) -> None:
    course = course_of(endpoints, NoAdvice())

    first = course.first()
    second = course.after(first, FAILED)
    assert second is not None
    third = course.after(second, FAILED)
    assert third is not None
    assert [step.position for step in (first, second, third)] == [0, 1, 2]
    assert course.after(third, FAILED) is None
    assert course.against_advice(third, FAILED) is None, "nobody was passed over"


def test_an_endpoint_that_health_refuses_is_passed_over(endpoints: list[Endpoint]) -> None:
    board = Board("a", "b")
    course = course_of(endpoints, board)

    assert course.first() == Step(2, 0)
    assert board.asked == [("a", 0), ("b", 0), ("c", 0)], "each is asked once: probes are counted"


def test_when_everybody_is_refused_the_first_is_tried_all_the_same_and_nobody_else(
    endpoints: list[Endpoint],
) -> None:
    course = course_of(endpoints, Board("a", "b", "c"))

    first = course.first()
    assert first == Step(0, 0)
    assert course.after(first, FAILED) is None
    assert course.against_advice(first, FAILED) is None


def test_one_that_was_passed_over_is_tried_when_nothing_else_is_left(
    endpoints: list[Endpoint],
) -> None:
    course = course_of(endpoints, Board("a", "c"))

    first = course.first()
    assert first == Step(1, 0)
    assert course.after(first, FAILED) is None
    last = course.against_advice(first, FAILED)
    assert last is not None
    assert last.position == 0
    assert course.against_advice(last, FAILED) is None, "once in a request"


def test_advice_does_not_lead_where_the_outcome_does_not(endpoints: list[Endpoint]) -> None:
    course = course_of(endpoints, Board("b", "c"))

    first = course.first()
    assert course.after(first, Outcome.CONTEXT_LENGTH) is None
    assert course.against_advice(first, Outcome.CONTEXT_LENGTH) is None, "the same model"


@pytest.mark.parametrize(
    "outcome", [Outcome.AUTH_FAILED, Outcome.QUOTA_EXHAUSTED, Outcome.RATE_LIMITED]
)
def test_a_refused_or_limited_credential_makes_way_for_the_next_one(
    endpoints: list[Endpoint], outcome: Outcome
) -> None:
    course = course_of(endpoints, NoAdvice(), credentials=2)

    first = course.first()
    second = course.after(first, outcome)
    assert second is not None
    assert second == Step(0, 1)
    assert course.after(second, outcome) == Step(1, 0), "then the next endpoint's"


def test_another_failure_does_not_blame_the_credential(endpoints: list[Endpoint]) -> None:
    course = course_of(endpoints, NoAdvice(), credentials=2)

    following = course.after(course.first(), FAILED)
    assert following is not None
    assert following.position == 1


def test_a_credential_that_was_refused_is_not_shown_to_the_providers_other_endpoints() -> None:
    one, other = make_endpoint("a", "acme/large"), make_endpoint("a", "acme/small")
    course = course_of([one, other], NoAdvice(), credentials=2)

    second = course.after(course.first(), Outcome.AUTH_FAILED)
    assert second is not None
    assert second == Step(0, 1)
    following = course.after(second, Outcome.SERVER_ERROR)
    assert following == Step(1, 1)


def test_a_limit_of_one_endpoint_says_nothing_of_the_others() -> None:
    one, other = make_endpoint("a", "acme/large"), make_endpoint("a", "acme/small")
    course = course_of([one, other], NoAdvice(), credentials=1)

    assert course.after(course.first(), Outcome.RATE_LIMITED) == Step(1, 0)


def test_credentials_that_are_out_or_limited_are_not_used(endpoints: list[Endpoint]) -> None:
    course = course_of(endpoints, Board(out=(0,), limited=1), credentials=3)

    assert course.first() == Step(0, 2)


def test_with_every_credential_out_the_endpoint_is_tried_all_the_same(
    endpoints: list[Endpoint],
) -> None:
    assert course_of(endpoints, Board(out=(0, 1)), credentials=2).first() == Step(0, 0)


def test_requests_begin_with_the_credentials_in_turn(endpoints: list[Endpoint]) -> None:
    book = book_of(*endpoints, credentials=3)

    assert [book.credentials_in_turn("a")[0] for _ in range(4)] == [0, 1, 2, 0]
    assert book.credentials_in_turn("a") == (1, 2, 0)
    assert book.credentials_in_turn("b")[0] == 0, "each provider has its own turn"


def test_only_an_endpoint_of_the_same_model_is_asked_beside_a_silent_one() -> None:
    first = make_endpoint("a", "acme/large")
    other_model = make_endpoint("b", "acme/small")
    same_model = make_endpoint("c", "acme/large")
    course = course_of([first, other_model, same_model], NoAdvice())

    step = course.first()
    assert course.beside(step) == Step(2, 0)
    following = course.after(Step(2, 0), FAILED)
    assert following is not None
    assert following == Step(1, 0), "what was jumped over then is not forgotten"
    assert course.after(following, FAILED) is None
