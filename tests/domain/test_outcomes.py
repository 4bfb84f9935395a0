"""What each outcome means for the attempts that may follow it."""

import pytest

from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import CONSEQUENCES, Outcome

OURS = [
    Outcome.CLIENT_CANCELLED,
    Outcome.GATEWAY_SHUTDOWN,
    Outcome.GATEWAY_ERROR,
    Outcome.REFUSED,
    Outcome.UNKNOWN_CRASH,
    Outcome.SUCCESS,
]


def test_every_outcome_has_its_consequence() -> None:
    assert set(CONSEQUENCES) == set(Outcome)


@pytest.mark.parametrize("outcome", OURS)
def test_what_is_not_the_endpoints_doing_changes_nothing(outcome: Outcome) -> None:
    consequence = CONSEQUENCES[outcome]

    assert not consequence.is_failure
    assert not consequence.next_endpoint
    assert not consequence.next_model
    assert not consequence.cools_down
    assert not consequence.blames_credential


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.CONTEXT_LENGTH,
        Outcome.CONTENT_FILTER,
        Outcome.UNSUPPORTED,
        Outcome.TOO_LARGE,
        Outcome.INVALID_REQUEST,
        Outcome.RATE_LIMITED,
        Outcome.NOT_FOUND,
    ],
)
def test_refusals_do_not_count_against_the_endpoints_health(outcome: Outcome) -> None:
    assert not CONSEQUENCES[outcome].is_failure


@pytest.mark.parametrize("outcome", list(Outcome))
def test_whatever_arises_on_the_way_counts_as_a_failure_too(outcome: Outcome) -> None:
    consequence = CONSEQUENCES[outcome]

    assert consequence.is_failure or not consequence.is_local_failure


@pytest.mark.parametrize(
    "outcome", [Outcome.FIRST_TOKEN_TIMEOUT, Outcome.IDLE_TIMEOUT, Outcome.TOTAL_TIMEOUT]
)
def test_what_was_waited_for_once_is_not_waited_for_again(outcome: Outcome) -> None:
    assert not CONSEQUENCES[outcome].repeat_last


def test_outcomes_are_words_on_the_wire_and_in_records() -> None:
    assert f"{Outcome.RATE_LIMITED}" == "rate_limited"
    assert all(outcome.value == outcome.value.lower() for outcome in Outcome)


def test_a_request_is_cut_off_by_its_caller_unless_said_otherwise() -> None:
    interruption = Interruption()
    assert interruption.outcome is Outcome.CLIENT_CANCELLED
    assert not interruption.is_shutdown

    interruption.outcome = Outcome.GATEWAY_SHUTDOWN
    assert interruption.is_shutdown
