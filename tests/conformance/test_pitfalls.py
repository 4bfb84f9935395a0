"""The pitfalls that users of other gateways reported, row by row of ``contract.md`` §3.5.

| row | what holds here |
| ---: | --- |
| 1 | a stream falls back until its first word |
| 2 | and never after it |
| 3 | a wish for no fallback holds for streams too |
| 4 | what makes a stream whole is its finish reason, not its end marker |
| 5 | an error inside a 200 is no answer |
| 6 | signatures of thoughts go round |
| 7 | a forced call beside thinking follows a rule, and the rule is told |
| 8 | empty texts are not sent |
| 9 | results of parallel calls are one message, before any text |
| 10 | calls in streams are counted densely from 0 |
| 11 | schemas keep only what Gemini takes |
| 12 | signatures of calls come back, or the documented stand-in |
| 13 | cached tokens are counted once, and by how long they are kept |
| 14 | Gemini's thoughts are output |
| 15 | the last usage of a stream counts, and what it leaves out stays |
| 16 | a reported zero is a zero |
| 17 | a stream that breaks off is billed by its text, not by a placeholder |
| 18 | comments break no reader |
| 19 | credit for a shorter answer is asked for that |
| 20 | a refused credential of ours is not the caller's, and its reason is kept |
| 21 | trouble leads elsewhere only when it is better there |
| 22 | what was learned of endpoints is advice: without it requests are answered all the same |

``TESTS`` names the tests of a single protocol; what holds for all of them is tested here.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.answers import StreamedAnswer
from gateway.domain.errors import GatewayError
from gateway.execution.health import HealthBoard
from gateway.routing.engine import make_plan
from gateway.routing.plan import EndpointHealth
from gateway.simulator.server import Simulator
from tests.pipeline.conftest import simulator
from tests.pipeline.rig import STAND_INS, Offer, asked, read_all, rig_on, text_of
from tests.routing.factories import (
    NOW_MS,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_request,
)

__all__ = ["simulator"]

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
SPOKEN = pytest.mark.parametrize("protocol", STAND_INS)
MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
TEXT_STREAMS = pytest.mark.parametrize("protocol", [one for one in STAND_INS if one != "bedrock"])
# Slowly enough that the fault does not come in one packet with what precedes it.
BREAKS = "tokens=60,tokens_per_s=100"

ANTHROPIC = "tests/providers/test_anthropic_"
GEMINI = "tests/providers/test_gemini_"
BEDROCK = "tests/providers/test_bedrock_pitfalls.py::test_pitfall_"
TESTS: dict[int, tuple[str, ...]] = {
    1: (
        ANTHROPIC + "gateway.py::"
        "test_1_another_endpoint_answers_when_one_fails_before_its_first_word",
        BEDROCK + "01_an_exception_in_mid_stream_does_not_end_it_silently",
    ),
    2: (),
    3: (),
    4: (
        ANTHROPIC + "stream.py::test_4_an_end_without_a_stop_reason_is_a_truncation",
        ANTHROPIC + "stream.py::test_4_an_end_without_the_end_marker_is_an_answer_all_the_same",
        GEMINI + "answer.py::test_pitfall_4_a_stream_without_a_finish_reason_is_truncated",
        GEMINI + "answer.py::test_pitfall_4_a_stream_with_a_finish_reason_needs_no_end_marker",
        BEDROCK + "04_a_stream_is_whole_with_its_stop_reason_and_cut_without",
    ),
    5: (
        ANTHROPIC + "answer.py::test_5_an_error_inside_a_200_is_a_fault",
        ANTHROPIC + "stream.py::test_5_an_error_inside_the_stream_is_a_fault",
        GEMINI + "answer.py::test_pitfall_5_errors_inside_a_200_are_not_answers",
        BEDROCK + "05_an_error_inside_a_200_is_not_an_empty_answer",
    ),
    6: (
        ANTHROPIC + "request.py::test_6_signed_thinking_is_sent_back_in_a_tool_loop",
        ANTHROPIC + "stream.py::test_6_the_signature_comes_with_the_detail_it_belongs_to",
        GEMINI + "answer.py::test_pitfall_6_signatures_make_the_round_trip",
        BEDROCK + "06_thinking_and_its_signature_survive_a_tool_loop",
    ),
    7: (
        ANTHROPIC + "request.py::"
        "test_7_a_forced_call_wins_over_a_budget_for_thinking_with_a_warning",
        ANTHROPIC + "request.py::test_7_a_forced_call_goes_together_with_adaptive_thinking",
        BEDROCK + "07_a_forced_call_wins_over_a_budget_and_that_is_said",
    ),
    8: (
        ANTHROPIC + "request.py::test_8_empty_text_blocks_are_left_out",
        GEMINI + "request.py::test_pitfall_8_empty_text_blocks_are_left_out",
        BEDROCK + "08_blank_texts_are_not_sent",
    ),
    9: (
        ANTHROPIC + "request.py::test_9_parallel_results_are_one_message_before_any_text",
        GEMINI + "request.py::"
        "test_pitfall_9_parallel_results_are_one_content_in_the_order_of_the_calls",
        BEDROCK + "09_parallel_results_are_one_message_with_the_results_first",
    ),
    10: (
        ANTHROPIC + "stream.py::"
        "test_10_calls_are_counted_from_zero_whatever_the_index_of_their_block",
        GEMINI + "answer.py::test_pitfall_10_calls_of_a_stream_have_dense_indices_and_steady_ids",
        BEDROCK + "10_indices_of_calls_are_dense_whatever_the_blocks_are",
    ),
    11: (GEMINI + "schema.py::test_pitfall_11_a_schema_keeps_only_what_is_taken",),
    12: (
        GEMINI + "request.py::test_pitfall_12_a_signature_comes_back_at_the_call_it_came_with",
        GEMINI + "request.py::"
        "test_pitfall_12_a_missing_or_foreign_signature_becomes_the_documented_dummy",
        "tests/pipeline/test_gemini.py::"
        "test_pitfall_12_signatures_come_back_for_a_client_that_drops_them",
    ),
    13: (
        ANTHROPIC + "answer.py::"
        "test_13_cache_tokens_stand_beside_the_input_and_hours_apart_from_minutes",
        BEDROCK + "13_cached_tokens_are_counted_once_and_by_how_long_they_are_kept",
    ),
    14: (GEMINI + "usage.py::test_pitfall_14_thoughts_are_output_beside_the_candidates",),
    15: (
        ANTHROPIC + "stream.py::test_15_a_count_that_is_left_out_later_stays",
        GEMINI + "answer.py::test_pitfall_15_what_a_later_chunk_leaves_out_stands_as_it_was",
        BEDROCK + "15_the_usage_of_a_stream_arrives",
    ),
    16: (
        ANTHROPIC + "answer.py::test_16_a_reported_zero_stays_zero",
        GEMINI + "answer.py::test_pitfall_16_a_reported_zero_stays_zero",
        BEDROCK + "16_a_zero_is_a_zero_and_nothing_is_nothing",
    ),
    17: (
        ANTHROPIC + "stream.py::test_17_the_placeholder_of_the_beginning_is_never_taken_for_usage",
        ANTHROPIC + "gateway.py::test_17_a_stream_that_breaks_off_is_billed_by_its_text",
    ),
    18: (
        ANTHROPIC + "stream.py::test_18_comments_pings_and_unknown_events_are_skipped",
        GEMINI + "answer.py::test_pitfall_18_comments_and_odd_line_ends_are_read",
    ),
    19: (
        "tests/execution/test_runner.py::"
        "test_pitfall_19_credit_for_a_shorter_answer_is_asked_for_that",
    ),
    20: (
        ANTHROPIC + "gateway.py::test_20_a_refused_credential_is_a_502_to_the_client",
        GEMINI + "errors.py::test_pitfall_20_a_refused_key_keeps_its_reason_and_loses_its_secret",
        BEDROCK + "20_a_model_without_access_is_not_a_bad_credential",
    ),
    21: (),
    22: (),
}
RECHUNKING = (
    "tests/providers/test_openai_stream.py::test_any_way_of_cutting_gives_the_same_events",
    "tests/providers/test_anthropic_stream.py::test_any_re_chunking_yields_the_same_events",
    "tests/providers/test_gemini_conversations.py::"
    "test_however_a_stream_is_cut_its_events_are_the_same",
    "tests/providers/test_bedrock_answers.py::test_any_cutting_of_a_stream_gives_the_same_events",
    "tests/providers/test_event_stream.py::test_any_cutting_of_a_stream_gives_the_same_messages",
    "tests/providers/test_sse.py::test_any_way_of_cutting_gives_the_same_events",
)
"""Any re-chunking of an upstream byte stream yields identical events, protocol by protocol."""
ACCEPTED = (
    "tests/providers/test_anthropic_request.py::"
    "test_any_valid_conversation_becomes_a_request_that_the_strict_service_takes",
    "tests/providers/test_gemini_conversations.py::"
    "test_any_conversation_is_accepted_by_the_strict_simulator",
    "tests/providers/test_bedrock_conversations.py::"
    "test_any_conversation_is_accepted_by_the_strict_simulator",
)
"""Any valid conversation becomes a request that the strict simulator takes."""


@SPOKEN
@pytest.mark.parametrize("fault", ["500", "error200", "reset", "no_finish", "truncated@0"])
async def test_pitfall_1_a_stream_falls_back_until_its_first_word(
    simulator: Simulator, protocol: str, fault: str
) -> None:
    first = Offer(do=f"{fault},text=", protocol=protocol)
    async with rig_on(simulator, first, Offer(do="text=Here.", protocol=protocol)) as rig:
        events = await read_all(await rig.stream())

    assert text_of(events) == "Here."
    assert [attempt.endpoint for attempt in rig.ledger.only.attempts][-1].startswith("p2/")


@SPOKEN
@pytest.mark.parametrize("fault", ["error200@6", "reset_mid@6", "truncated@6"])
async def test_pitfall_2_nobody_else_speaks_after_the_first_word(
    simulator: Simulator, protocol: str, fault: str
) -> None:
    first = Offer(do=f"{fault},{BREAKS}", protocol=protocol)
    async with rig_on(simulator, first, Offer(do="text=again", protocol=protocol)) as rig:
        events = await read_all(await rig.stream())

    assert text_of(events)
    assert "again" not in text_of(events)
    assert "error" in events[-2]
    assert len(asked(simulator)) == 1


@SPOKEN
@MODES
async def test_pitfall_3_a_wish_for_no_fallback_holds_for_streams_too(
    simulator: Simulator, protocol: str, stream: bool
) -> None:
    offers = (Offer(do="429", protocol=protocol), Offer(protocol=protocol))
    wish = {"order": ["p1"], "allow_fallbacks": False}
    async with rig_on(simulator, *offers) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.answer(provider=wish, stream=stream)

    assert caught.value.status == 429
    assert len(asked(simulator)) == 1


@SPOKEN
@MODES
@pytest.mark.parametrize("fault", ["error200", "no_choices", "error_choice"])
async def test_pitfall_5_an_error_inside_a_200_is_no_answer(
    simulator: Simulator, protocol: str, fault: str, stream: bool
) -> None:
    if stream and fault == "no_choices" and protocol in {"anthropic", "bedrock"}:
        pytest.skip("a message that begins and ends is an answer, if an empty one")
    if fault == "error_choice" and protocol != "openai":
        pytest.skip("a form of OpenAI-compatible services alone")
    offers = (Offer(do=fault, protocol=protocol), Offer(do="text=Here.", protocol=protocol))
    async with rig_on(simulator, *offers) as rig:
        answer = await rig.answer(stream=stream)
        text = (
            text_of(await read_all(answer))
            if isinstance(answer, StreamedAnswer)
            else answer.body.decode()
        )

    assert "Here." in text
    assert len(rig.ledger.only.attempts) == 2


@pytest.mark.parametrize("form", ["tool_no_index", "tool_no_id", "tool_whole", "tool_object"])
async def test_pitfall_10_calls_are_counted_densely_whatever_came(
    simulator: Simulator, form: str
) -> None:
    tool = {"type": "function", "function": {"name": "measure", "parameters": {"type": "object"}}}
    async with rig_on(simulator, Offer(do=f"tool_calls=3,{form}")) as rig:
        events = await read_all(await rig.stream(tools=[tool]))

    pieces = [
        piece
        for event in events[:-1]
        for choice in event["choices"]
        for piece in choice["delta"].get("tool_calls", ())
    ]
    assert list(dict.fromkeys(piece["index"] for piece in pieces)) == [0, 1, 2]
    assert len({piece["id"] for piece in pieces if piece.get("id")}) == 3


@SPOKEN
async def test_pitfall_15_the_last_usage_of_a_stream_counts(
    simulator: Simulator, protocol: str
) -> None:
    async with rig_on(simulator, Offer(do="tokens=40,usage_twice", protocol=protocol)) as rig:
        await read_all(await rig.stream())

    (entry,) = asked(simulator)
    usage = rig.ledger.only.attempts[0].usage
    assert usage is not None
    assert usage.completion_tokens == entry.completion_tokens


@SPOKEN
@MODES
async def test_pitfall_16_a_reported_zero_costs_nothing(
    simulator: Simulator, protocol: str, stream: bool
) -> None:
    async with rig_on(simulator, Offer(do="usage_zero", protocol=protocol)) as rig:
        answer = await rig.answer(stream=stream)
        if isinstance(answer, StreamedAnswer):
            await read_all(answer)

    (attempt,) = rig.ledger.only.attempts
    assert attempt.usage_source == "reported"
    assert attempt.cost is not None
    assert attempt.cost.total_usd == Decimal(0)


@SPOKEN
async def test_pitfall_17_a_stream_that_breaks_off_is_billed_by_its_text(
    simulator: Simulator, protocol: str
) -> None:
    async with rig_on(simulator, Offer(do=f"reset_mid@5,{BREAKS}", protocol=protocol)) as rig:
        events = await read_all(await rig.stream())

    (attempt,) = rig.ledger.only.attempts
    assert attempt.usage is not None
    said = len(text_of(events).encode())
    # Gemini counts as it goes, so that a count of what was said may be there already.
    told = events[-2]["error"]["metadata"]["usage"]
    assert told["completion_tokens"] == attempt.usage.completion_tokens
    assert told["cost_usd_total"] > 0
    counts_early = protocol == "gemini" and attempt.usage_source == "reported"
    assert counts_early or attempt.usage_source == "estimated"
    assert attempt.usage.completion_tokens >= said // 4 > 1


@TEXT_STREAMS
@pytest.mark.parametrize("form", ["comments", "crlf", "cr", "no_space", "multi_data", "bom"])
async def test_pitfall_18_comments_and_odd_lines_break_nothing(
    simulator: Simulator, protocol: str, form: str
) -> None:
    async with rig_on(simulator, Offer(do=f"text=Here.,{form}", protocol=protocol)) as rig:
        assert text_of(await read_all(await rig.stream())) == "Here."


def test_pitfall_21_trouble_leads_elsewhere_only_when_it_is_better_there() -> None:
    shaky, dead = make_endpoint("shaky", price="1"), make_endpoint("dead", price="2")
    outage = EndpointHealth(has_recent_outage=True, uptime=0.62)

    def first(health: Mapping[str, EndpointHealth], **wishes: Any) -> str:
        inputs = make_inputs(make_catalogue_of(shaky, dead), health=health)
        plan = make_plan(make_request(**wishes), inputs)
        return plan.candidates[0].endpoint.provider

    for worse in (
        EndpointHealth(has_recent_outage=True, uptime=0.0),
        EndpointHealth(has_recent_outage=True, cooling_until_ms=NOW_MS + 5_000),
        EndpointHealth(has_recent_outage=True, open_until_ms=NOW_MS + 5_000),
    ):
        assert first({shaky.id: outage, dead.id: worse}, sort="price") == "shaky"
    assert first({shaky.id: outage, dead.id: make_health()}) == "dead"


class Unreadable(HealthBoard):
    """A board whose memory is damaged."""

    def view(self, now_ms: float) -> Mapping[str, EndpointHealth]:
        """Nothing can be read."""
        del now_ms
        raise OSError(5, "Input/output error")

    def begin(self, start: object) -> None:
        """Nothing can be written."""
        del start
        raise OSError(5, "Input/output error")

    def report(self, end: object) -> None:
        """Nothing can be written."""
        del end
        raise OSError(5, "Input/output error")


@MODES
async def test_pitfall_22_requests_are_answered_without_what_was_learned(
    simulator: Simulator, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    board = Unreadable()
    async with rig_on(simulator, Offer(do="500"), Offer(do="text=Here."), board=board) as rig:
        answer = await rig.answer(stream=stream)
        if isinstance(answer, StreamedAnswer):
            await read_all(answer)

    assert [attempt.outcome.value for attempt in rig.ledger.only.attempts] == [
        "server_error",
        "success",
    ]
    assert "requests go by price" in caplog.text


@pytest.mark.parametrize("row", TESTS)
def test_every_row_has_a_test_named_after_it(row: int) -> None:
    here = Path(__file__).read_text("utf-8")
    assert f"\n| {row} |" in (__doc__ or "")
    assert TESTS[row] or f"def test_pitfall_{row}_" in here
    for name in TESTS[row]:
        assert _exists(name), name
        assert re.match(rf"test_(pitfall_)?0?{row}_", name.rpartition("::")[2])


def test_the_rows_are_those_of_the_table() -> None:
    assert list(TESTS) == list(range(1, 23))


@pytest.mark.parametrize("name", RECHUNKING + ACCEPTED)
def test_the_properties_of_all_protocols_have_their_tests(name: str) -> None:
    assert _exists(name)


def _exists(name: str) -> bool:
    file, _, function = name.partition("::")
    return re.search(rf"def {function}\(", (ROOT / file).read_text("utf-8")) is not None
