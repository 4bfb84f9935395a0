"""What an attempt remembers of what it saw, and that its end is told once."""

from decimal import Decimal

from gateway.domain.attempts import AttemptEnd
from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, StreamEvent
from pricing.usage import Usage
from tests.execution.samples import make_attempt, make_fault


def test_the_end_is_told_exactly_once_and_the_first_one_stands() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    attempt.end(Outcome.SUCCESS)
    attempt.end(Outcome.CLIENT_CANCELLED)
    attempt.fail(make_fault(Outcome.READ_ERROR))

    assert [end.outcome for end in ends] == [Outcome.SUCCESS]
    assert attempt.is_over


def test_a_fault_brings_its_status_code_and_words_into_the_end() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    attempt.fail(
        make_fault(
            Outcome.RATE_LIMITED,
            status_code=429,
            code="rate_limit_exceeded",
            retry_after_ms=2_000.0,
            upstream_id="req-1",
        )
    )

    (end,) = ends
    assert (end.status_code, end.error_code) == (429, "rate_limit_exceeded")
    assert (end.error_message, end.retry_after_ms) == ("it was rate_limited", 2_000)
    assert end.upstream_id == "req-1"


def test_a_fault_without_a_status_keeps_the_one_that_was_seen() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    attempt.status_code = 200
    attempt.fail(make_fault(Outcome.IDLE_TIMEOUT))

    assert ends[0].status_code == 200


def test_usage_in_a_stream_is_cumulative_so_the_last_one_counts() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    attempt.observe_event(StreamEvent(usage=Usage(input_tokens=9, output_tokens=1)))
    attempt.observe_event(
        StreamEvent(
            usage=Usage(input_tokens=9, output_tokens=7),
            is_usage_doubtful=True,
            usage_details={"accepted_prediction_tokens": 3},
        )
    )
    attempt.observe_event(StreamEvent(has_content=True, text_bytes=4))
    attempt.end(Outcome.SUCCESS)

    assert ends[0].usage == Usage(input_tokens=9, output_tokens=7)
    assert ends[0].is_usage_doubtful
    assert attempt.usage_details == {"accepted_prediction_tokens": 3}


def test_text_is_added_up_over_the_events() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    for size in (3, 0, 8):
        attempt.observe_event(StreamEvent(has_content=size > 0, text_bytes=size))
    attempt.end(Outcome.CLIENT_CANCELLED)

    assert ends[0].text_bytes == 11
    assert ends[0].usage is None


def test_the_first_token_is_the_first_content_and_not_the_first_event() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    attempt.observe_event(StreamEvent(upstream_id="chatcmpl-1"))
    assert attempt.ttft_ms is None
    attempt.observe_event(StreamEvent(has_content=True, text_bytes=1))
    first_ms = attempt.ttft_ms
    attempt.observe_event(StreamEvent(has_content=True, text_bytes=1))
    attempt.end(Outcome.SUCCESS)

    assert first_ms is not None
    assert ends[0].ttft_ms == first_ms
    assert first_ms <= ends[0].duration_ms


def test_events_that_say_nothing_of_it_forget_nothing() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    attempt.observe_event(
        StreamEvent(
            finish_reason="stop",
            native_finish_reason="end_turn",
            service_tier="flex",
            upstream_id="chatcmpl-1",
            reported_cost_usd=Decimal("0.5"),
        )
    )
    attempt.observe_event(StreamEvent())
    attempt.end(Outcome.SUCCESS)

    (end,) = ends
    assert (end.finish_reason, end.native_finish_reason) == ("stop", "end_turn")
    assert (end.service_tier, end.upstream_id) == ("flex", "chatcmpl-1")
    assert end.reported_cost_usd == Decimal("0.5")


def test_a_whole_answer_is_taken_over() -> None:
    ends: list[AttemptEnd] = []
    attempt = make_attempt(ends)
    attempt.observe_completion(
        Completion(
            choices=b"[]",
            finish_reason="length",
            usage=Usage(output_tokens=4),
            is_usage_doubtful=True,
            service_tier="priority",
            upstream_id="chatcmpl-2",
            reported_cost_usd=Decimal(0),
            text_bytes=17,
        )
    )
    attempt.end(Outcome.SUCCESS)

    (end,) = ends
    assert end.usage == Usage(output_tokens=4)
    assert end.is_usage_doubtful
    assert (end.finish_reason, end.service_tier) == ("length", "priority")
    assert end.reported_cost_usd == 0, "a reported zero is a report"
    assert end.text_bytes == 17
