"""The attempt loop on real sockets: which failure leads where, and what is told of each attempt."""

import asyncio
import json
import time
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gateway.domain.attempts import AttemptStart
from gateway.domain.errors import (
    GatewayError,
    RateLimitedError,
    UpstreamError,
    UpstreamTimeoutError,
)
from gateway.domain.outcomes import Outcome
from gateway.execution.deadlines import Deadlines
from gateway.execution.retry_budget import Refill, RetryBudget
from gateway.execution.runner import Served
from gateway.providers.base import FaultError
from gateway.simulator.server import Simulator
from tests.execution.raw_server import Peer, serve
from tests.pipeline.rig import PATIENT, QUICK, DeadPort, Offer, asked, rig_on, until

pytestmark = pytest.mark.anyio

# What the first endpoint does, the outcome of its attempt and the status it was seen to answer.
WHOLE = [
    ("401", "auth_failed", 401),
    ("402", "quota_exhausted", 402),
    ("403", "auth_failed", 403),
    ("404", "not_found", 404),
    ("408", "first_token_timeout", 408),
    ("429,retry_after=2", "rate_limited", 429),
    ("insufficient_quota", "quota_exhausted", 429),
    ("500", "server_error", 500),
    ("500,shape=html", "server_error", 500),
    ("500,shape=empty", "server_error", 500),
    ("502", "server_error", 502),
    ("503", "overloaded", 503),
    ("529", "overloaded", 529),
    ("redirect", "bad_response", 307),
    ("hang", "first_token_timeout", 0),
    ("hang_headers", "first_token_timeout", 200),
    ("hang_mid@1", "first_token_timeout", 200),
    ("slow_drip,interval_ms=50", "first_token_timeout", 200),
    ("reset", "read_error", 0),
    ("reset_mid@1", "read_error", 200),
    ("close", "read_error", 0),
    ("truncated@1", "read_error", 200),
    ("truncated_clean@1", "bad_response", 200),
    ("length_and_chunked", "read_error", 0),
    ("malformed_json", "bad_response", 200),
    ("bad_utf8", "bad_response", 200),
    ("error200", "server_error", 200),
    ("error_choice", "server_error", 502),
    ("no_choices", "bad_response", 200),
    ("html200", "bad_response", 200),
    ("empty200", "bad_response", 200),
    ("huge_body,megabytes=33", "bad_response", 200),
    ("huge_header", "read_error", 0),
    ("gzip_bomb,megabytes=64", "bad_response", 200),
]
STREAMED = [
    ("401", "auth_failed", 401),
    ("429,retry_after=2", "rate_limited", 429),
    ("500", "server_error", 500),
    ("503", "overloaded", 503),
    ("redirect", "bad_response", 307),
    ("hang", "first_token_timeout", 0),
    ("hang_headers", "first_token_timeout", 200),
    ("hang_mid@0", "first_token_timeout", 200),
    ("comments_only,interval_ms=20", "first_token_timeout", 200),
    ("slow_drip,interval_ms=50", "first_token_timeout", 200),
    ("reset", "read_error", 0),
    ("reset_mid@0", "read_error", 200),
    ("close", "read_error", 0),
    ("truncated@0", "read_error", 200),
    ("truncated_clean@0", "truncated", 200),
    ("no_finish,tokens=0", "truncated", 200),
    ("malformed_json@0", "bad_response", 200),
    ("bad_utf8@0", "bad_response", 200),
    ("error200@0", "server_error", 200),
    ("error_choice", "server_error", 502),
    ("no_choices", "truncated", 200),
    ("json_for_stream", "bad_response", 200),
    ("html200", "bad_response", 200),
    ("empty200", "truncated", 200),
    ("huge_body,megabytes=2", "bad_response", 200),
    ("gzip_bomb,megabytes=64", "bad_response", 200),
]


async def said(served: Served) -> str:
    """What an answer says, read to its end."""
    if served.completion is not None:
        return served.completion.choices.decode()
    relay = served.relay
    assert relay is not None
    pieces: list[str] = []
    try:
        while (events := await relay.next()) is not None:
            pieces += [event.choices.decode() for event in events]
    finally:
        await relay.aclose()
    return "".join(pieces)


@pytest.mark.parametrize(("do", "outcome", "status"), WHOLE)
async def test_when_the_first_endpoint_fails_the_next_one_answers_whole(
    simulator: Simulator, do: str, outcome: str, status: int
) -> None:
    async with rig_on(simulator, Offer(do=do, deadlines=QUICK), Offer(do="text=hello")) as rig:
        served = await rig.run()

    assert "hello" in await said(served)
    assert rig.told() == [(outcome, status), ("success", 200)]
    assert [(start.number, start.kind) for start in rig.starts] == [(1, "primary"), (2, "fallback")]
    assert [end.start for end in rig.ends] == rig.starts


@pytest.mark.parametrize(("do", "outcome", "status"), STREAMED)
async def test_when_the_first_endpoint_fails_before_it_speaks_the_next_one_streams(
    simulator: Simulator, do: str, outcome: str, status: int
) -> None:
    async with rig_on(simulator, Offer(do=do, deadlines=QUICK), Offer(do="text=hello")) as rig:
        served = await rig.run(stream=True)

        assert "hello" in await said(served)
        assert rig.told() == [(outcome, status)]
        assert served.attempt.start.number == 2
        assert not served.attempt.is_over, "whoever relays a stream ends its attempt"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_connection_moves_on_at_once(
    simulator: Simulator, dead_port: DeadPort, stream: bool
) -> None:
    began_s = time.monotonic()
    async with rig_on(simulator, Offer(base_url=dead_port.url), Offer()) as rig:
        served = await rig.run(stream=stream)
        await said(served)

    assert rig.told()[0] == ("connect_error", 0)
    assert served.attempt.start.endpoint.provider == "p2"
    assert time.monotonic() - began_s < 2


async def test_a_connection_that_is_never_accepted_times_out_after_the_connect_limit(
    simulator: Simulator,
) -> None:
    quick = Deadlines(connect_s=0.2)

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert request.extensions["timeout"] == {"connect": 0.2}
            raise httpx.ConnectTimeout("no connection")

    async with rig_on(None, Offer(deadlines=quick), transport=Slow(), max_attempts=1) as rig:
        with pytest.raises(UpstreamTimeoutError):
            await rig.run()
    assert rig.told() == [("connect_timeout", 0)]


@pytest.mark.parametrize("do", ["400", "422", "413", "content_policy", "context_length"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_of_the_request_itself_tries_no_other_endpoint_of_the_model(
    simulator: Simulator, do: str, stream: bool
) -> None:
    async with rig_on(simulator, Offer(do=do), Offer()) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.run(stream=stream)

    assert 400 <= caught.value.status < 500
    assert caught.value.should_retry is False
    assert len(asked(simulator)) == 1


@pytest.mark.parametrize(
    ("do", "moves"),
    [
        ("context_length", True),
        ("content_policy", True),
        ("422", True),
        ("413", True),
        ("404", True),
        ("400", False),
    ],
)
async def test_a_fault_of_the_request_moves_to_the_next_model_where_that_can_help(
    simulator: Simulator, do: str, moves: bool
) -> None:
    offers = [Offer(do=do), Offer(do="500"), Offer(do="text=hello", model="acme/longer")]
    if do == "404":
        # A model that one provider does not know may be served by another.
        offers[1] = Offer(do="404")
    async with rig_on(simulator, *offers) as rig:
        if not moves:
            with pytest.raises(UpstreamError):
                await rig.run()
            assert len(rig.ends) == 1
            return
        served = await rig.run()

    assert served.attempt.start.endpoint.model == "acme/longer"
    assert "acme/large" in {end.start.endpoint.model for end in rig.ends}
    assert len(rig.ends) == (3 if do == "404" else 2)


async def test_no_more_endpoints_are_tried_than_the_limit_allows(simulator: Simulator) -> None:
    async with rig_on(
        simulator, Offer(do="500"), Offer(do="503"), Offer(do="502"), Offer(), max_attempts=3
    ) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.run()

    assert rig.told() == [("server_error", 500), ("overloaded", 503), ("server_error", 502)]
    assert caught.value.code == "all_providers_failed"
    assert [step["code"] for step in caught.value.metadata["previous_errors"]] == [
        "server_error",
        "overloaded",
        "server_error",
    ]


@pytest.mark.parametrize("do", ["500", "503", "reset", "close", "malformed_json"])
async def test_the_last_endpoint_is_tried_once_more_after_a_failure_that_may_pass(
    simulator: Simulator, do: str
) -> None:
    async with rig_on(simulator, Offer(do=do)) as rig:
        with pytest.raises(GatewayError):
            await rig.run()

    assert len(rig.ends) == 2
    assert [start.endpoint.provider for start in rig.starts] == ["p1", "p1"]


async def test_a_refused_connection_is_tried_once_more_when_nobody_else_is_left(
    dead_port: DeadPort,
) -> None:
    async with rig_on(None, Offer(base_url=dead_port.url)) as rig:
        with pytest.raises(UpstreamError):
            await rig.run()

    assert rig.told() == [("connect_error", 0)] * 2


@pytest.mark.parametrize("do", ["401", "404", "429", "insufficient_quota", "400"])
async def test_the_last_endpoint_is_not_asked_again_when_that_cannot_help(
    simulator: Simulator, do: str
) -> None:
    async with rig_on(simulator, Offer(do=do)) as rig:
        with pytest.raises(GatewayError):
            await rig.run()

    assert len(rig.ends) == 1


async def test_a_repeat_waits_as_long_as_the_provider_asked_but_two_seconds_at_most(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="503,retry_after_ms=120")) as rig:
        with pytest.raises(GatewayError):
            await rig.run()

    first, second = (entry.received_at for entry in asked(simulator))
    assert second - first >= 0.12


async def test_a_repeat_that_the_remaining_time_does_not_allow_is_not_begun(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="503,retry_after=30"), total_s=0.5) as rig:
        began_s = time.monotonic()
        with pytest.raises(GatewayError):
            await rig.run()

    assert rig.told() == [("overloaded", 503)]
    assert time.monotonic() - began_s < 0.4, "nothing is waited for that will not come"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_total_deadline_ends_the_request_whatever_is_left_to_try(
    simulator: Simulator, stream: bool
) -> None:
    async with rig_on(simulator, Offer(do="hang"), Offer(), deadlines=PATIENT, total_s=0.25) as rig:
        with pytest.raises(UpstreamTimeoutError) as caught:
            await rig.run(stream=stream)

    assert caught.value.status == 504
    assert rig.told() == [("total_timeout", 0)]


async def test_reasoning_endpoints_may_think_longer_before_they_speak(simulator: Simulator) -> None:
    patient = Deadlines(first_token_s=0.1, first_token_reasoning_s=5)
    thinking = Offer(do="first_token_ms=250", capabilities={"reasoning": True}, deadlines=patient)
    hasty = Offer(do="first_token_ms=250", deadlines=patient)
    async with rig_on(simulator, hasty, thinking) as rig:
        served = await rig.run(stream=True)
        await said(served)

    assert rig.told() == [("first_token_timeout", 0)]
    assert served.attempt.start.endpoint.provider == "p2"


async def test_all_endpoints_at_their_limit_make_a_429_with_the_earliest_recovery(
    simulator: Simulator,
) -> None:
    async with rig_on(
        simulator, Offer(do="429,retry_after=40"), Offer(do="429,retry_after=7"), Offer(do="429")
    ) as rig:
        with pytest.raises(RateLimitedError) as caught:
            await rig.run()

    assert caught.value.status == 429
    assert caught.value.retry_after_s == 7
    assert [end.retry_after_ms for end in rig.ends] == [40_000, 7_000, None]


async def test_a_connection_that_went_stale_is_replaced_at_once_on_the_same_endpoint(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="stale"), Offer()) as rig:
        await rig.run()
        began_s = time.monotonic()
        served = await rig.run()

    assert served.attempt.start.endpoint.provider == "p1"
    assert [end.outcome for end in rig.ends] == [
        Outcome.SUCCESS,
        Outcome.CONNECT_ERROR,
        Outcome.SUCCESS,
    ]
    assert time.monotonic() - began_s < 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("do", ["hang", "hang_headers", "hang_mid@0"])
async def test_cancelling_ends_the_open_attempt_once_and_closes_the_upstream_connection(
    simulator: Simulator, stream: bool, do: str
) -> None:
    async with rig_on(simulator, Offer(do="500"), Offer(do=do), Offer()) as rig:
        task = asyncio.create_task(rig.run(stream=stream))
        await until(lambda: len(asked(simulator)) == 2)
        await asyncio.sleep(0.02)
        cancelled_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rig.told()[0] == ("server_error", 500)
        assert [outcome for outcome, _ in rig.told()[1:]] == ["client_cancelled"]

        entry = asked(simulator)[1]
        await until(lambda: entry.outcome == "client_closed")
        assert entry.closed_at is not None
        assert entry.closed_at - cancelled_s < 0.1


async def test_an_attempt_that_a_shutdown_cuts_off_says_so(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="hang")) as rig:
        task = asyncio.create_task(rig.run())
        await until(lambda: len(asked(simulator)) == 1)
        rig.interruption.outcome = Outcome.GATEWAY_SHUTDOWN
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert rig.told() == [("gateway_shutdown", 0)]


async def test_cancelling_between_two_attempts_invents_no_third(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="503,retry_after=5"), chance=lambda: 1.0) as rig:
        task = asyncio.create_task(rig.run())
        await until(lambda: len(rig.ends) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert rig.told() == [("overloaded", 503)]


async def test_a_bug_of_ours_ends_the_attempt_as_ours_and_surfaces() -> None:
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            del request
            raise ZeroDivisionError

    async with rig_on(None, Offer(), Offer(), transport=Broken()) as rig:
        with pytest.raises(ZeroDivisionError):
            await rig.run()

    assert rig.told() == [("gateway_error", 0)]


async def test_the_start_is_told_before_bytes_go_upstream(simulator: Simulator) -> None:
    seen: list[int] = []

    async with rig_on(simulator, Offer()) as rig:

        class Watching(list[AttemptStart]):
            def append(self, start: AttemptStart, /) -> None:
                seen.append(len(asked(simulator)))
                super().append(start)

        rig.starts = Watching()
        await rig.run()

    assert seen == [0]


async def test_the_end_of_an_attempt_carries_what_the_provider_told(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="tokens=12,cached=5")) as rig:
        await rig.run()

    (end,) = rig.ends
    assert end.usage is not None
    assert end.usage.cache_read_tokens == 5
    assert end.usage.completion_tokens == 12
    assert end.finish_reason == "stop"
    assert end.upstream_id
    assert end.text_bytes > 0
    assert end.duration_ms > 0
    assert end.start.price is not None
    assert end.start.price.input_usd_per_mtok == Decimal(1)


async def test_an_answer_in_one_piece_to_a_stream_is_refused_and_its_tokens_are_counted(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="json_for_stream,tokens=9"), Offer()) as rig:
        await said(await rig.run(stream=True))

    (end,) = rig.ends
    assert end.outcome is Outcome.BAD_RESPONSE
    assert end.usage is not None
    assert end.usage.completion_tokens == 9, "the provider did the work and bills it"


async def test_the_credential_goes_to_its_own_origin_and_into_no_message(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="401"), Offer(do="401")) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.run()

    assert {entry.credential_last4 for entry in asked(simulator)} == {"ijkl"}
    told = repr((caught.value.message, caught.value.metadata, rig.ends))
    assert "sk-provider" not in told
    assert "0123456789" not in told


class TestFromTheFirstContentOn:
    """A stream that has begun to speak is never given to another endpoint."""

    @pytest.mark.parametrize(
        ("do", "outcome"),
        [
            ("hang_mid@2", "idle_timeout"),
            ("reset_mid@2", "read_error"),
            ("truncated@2", "read_error"),
            ("truncated_clean@2", "truncated"),
            ("no_finish", "truncated"),
        ],
    )
    async def test_a_failure_is_the_readers_to_see(
        self, simulator: Simulator, do: str, outcome: str
    ) -> None:
        async with rig_on(simulator, Offer(do=do), Offer(), deadlines=QUICK) as rig:
            served = await rig.run(stream=True)
            with pytest.raises(FaultError) as caught:
                await said(served)

        assert caught.value.fault.outcome == outcome
        assert len(asked(simulator)) == 1
        assert rig.ends == []

    @pytest.mark.parametrize("do", ["malformed_json@2", "error200@2", "bad_utf8@2"])
    async def test_what_came_before_the_damage_still_reaches_the_reader(
        self, simulator: Simulator, do: str
    ) -> None:
        paced = f"{do},tokens_per_s=100"
        async with rig_on(simulator, Offer(do=paced), Offer()) as rig:
            served = await rig.run(stream=True)
            relay = served.relay
            assert relay is not None
            events = await relay.next() or []
            events += await relay.next() or []
            with pytest.raises(FaultError):
                await relay.next()
            await relay.aclose()

        assert sum(event.has_content for event in events) == 2
        assert served.attempt.text_bytes > 0


async def test_concurrent_requests_do_not_see_each_other(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="500"), Offer(do="text=hello")) as rig:
        runs: list[Awaitable[Served]] = [rig.run() for _ in range(20)]
        answers = await asyncio.gather(*runs)

    assert all(served.attempt.start.number == 2 for served in answers)
    assert len(rig.ends) == 40


class TestAskingTwice:
    """What a repeat waits for, and who pays for it."""

    async def test_a_limit_that_ends_soon_is_waited_for_when_nobody_else_is_left(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="429,retry_after_ms=80")) as rig:
            with pytest.raises(RateLimitedError):
                await rig.run()

        first, second = (entry.received_at for entry in asked(simulator))
        assert second - first >= 0.08
        assert rig.told() == [("rate_limited", 429)] * 2

    async def test_of_several_limits_the_one_that_ends_first_is_waited_for(
        self, simulator: Simulator
    ) -> None:
        offers = (Offer(do="429,retry_after_ms=60"), Offer(do="429,retry_after_ms=900"))
        async with rig_on(simulator, *offers) as rig:
            with pytest.raises(RateLimitedError):
                await rig.run()

        assert [start.endpoint.provider for start in rig.starts] == ["p1", "p2", "p1"]

    @pytest.mark.parametrize("told", ["", ",retry_after=3"])
    async def test_a_limit_that_lasts_or_does_not_say_is_not_waited_for(
        self, simulator: Simulator, told: str
    ) -> None:
        began_s = time.monotonic()
        async with rig_on(simulator, Offer(do=f"429{told}")) as rig:
            with pytest.raises(RateLimitedError):
                await rig.run()

        assert len(rig.ends) == 1
        assert time.monotonic() - began_s < 1

    async def test_no_limit_is_waited_for_while_another_endpoint_is_left(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="429,retry_after_ms=1500"), Offer()) as rig:
            began_s = time.monotonic()
            await rig.run()

        assert rig.told() == [("rate_limited", 429), ("success", 200)]
        assert time.monotonic() - began_s < 1

    async def test_a_target_without_budget_is_not_asked_again(self, simulator: Simulator) -> None:
        budget = RetryBudget(Refill(cap=2.0, per_request=0.0, per_s=0.0))
        async with rig_on(simulator, Offer(do="500"), budget=budget) as rig:
            for _ in range(5):
                with pytest.raises(UpstreamError):
                    await rig.run()

        assert len(rig.ends) == 5 + 2
        assert budget.refused == 3

    async def test_moving_on_costs_no_budget(self, simulator: Simulator) -> None:
        budget = RetryBudget(Refill(cap=0.0, per_request=0.0, per_s=0.0))
        async with rig_on(simulator, Offer(do="500"), Offer(), budget=budget) as rig:
            for _ in range(5):
                await rig.run()

        assert len(rig.ends) == 10

    async def test_a_repeat_waits_a_part_of_the_longest_backoff_by_chance(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="500"), chance=lambda: 0.5) as rig:
            with pytest.raises(UpstreamError):
                await rig.run()

        first, second = (entry.received_at for entry in asked(simulator))
        assert 0.1 <= second - first < 0.19


class TestSeveralCredentials:
    """Of one provider, used in turn."""

    SECRETS = ("sk-first-0123456789abcdefgh0001", "sk-other-0123456789abcdefgh0002")

    def offer(self, **changes: Any) -> Offer:
        first, other = self.SECRETS
        return Offer(secret=first, further_secrets=(other,), **changes)

    async def test_are_used_in_turn(self, simulator: Simulator) -> None:
        async with rig_on(simulator, self.offer()) as rig:
            for _ in range(4):
                await rig.run()

        assert [start.credential for start in rig.starts] == [0, 1, 0, 1]
        assert [entry.credential_last4 for entry in asked(simulator)] == ["0001", "0002"] * 2

    @pytest.mark.parametrize("do", ["401", "402", "403", "429,retry_after=60"])
    async def test_a_refusal_of_one_is_answered_with_the_next(
        self, simulator: Simulator, do: str
    ) -> None:
        async with rig_on(simulator, self.offer(do=do), Offer()) as rig:
            served = await rig.run()

        assert [(start.endpoint.provider, start.credential) for start in rig.starts] == [
            ("p1", 0),
            ("p1", 1),
            ("p2", 0),
        ]
        assert [start.kind for start in rig.starts] == ["primary", "primary", "fallback"]
        assert served.attempt.start.number == 3

    async def test_when_all_are_refused_the_client_learns_that_and_no_secret(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, self.offer(do="401")) as rig:
            with pytest.raises(UpstreamError) as caught:
                await rig.run()

        assert caught.value.code == "provider_auth"
        assert len(rig.ends) == 2
        told = repr((caught.value.message, caught.value.metadata, rig.ends))
        assert not any(secret[3:] in told for secret in self.SECRETS)

    async def test_a_credential_that_was_refused_is_left_alone_by_later_requests(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, self.offer(do="401"), Offer()) as rig:
            await rig.whole()
            before = len(asked(simulator))
            await rig.whole()

        assert before == 3
        later = [entry.credential_last4 for entry in asked(simulator)[before:]]
        assert later == [Offer().secret[-4:]]


@pytest.mark.parametrize("stream", [False, True])
async def test_pitfall_19_credit_for_a_shorter_answer_is_asked_for_that(stream: bool) -> None:
    bodies: list[dict[str, Any]] = []

    async def poor(peer: Peer) -> None:
        while request := await peer.read_request():
            bodies.append(json.loads(request.partition(b"\r\n\r\n")[2]))
            if bodies[-1].get("max_tokens", 10_000) > 1234:
                message = "You requested up to 64000 tokens, but can only afford 1234."
                await peer.say(answer_of(402, {"error": {"code": 402, "message": message}}))
                continue
            choice = {"index": 0, "finish_reason": "stop"}
            text = {"role": "assistant", "content": "Short."}
            if stream:
                chunk = json.dumps({"choices": [choice | {"delta": text}]})
                await peer.say(answer_of(200, f"data: {chunk}\n\ndata: [DONE]\n\n"))
            else:
                await peer.say(answer_of(200, {"choices": [choice | {"message": text}]}))

    async with serve(poor) as server:
        offer = Offer(base_url=str(server.url.copy_with(path="/v1")))
        async with rig_on(None, offer, Offer(base_url=offer.base_url)) as rig:
            served = await rig.run(max_tokens=64_000, stream=stream)
            if served.relay is not None:
                await served.relay.aclose()

    assert [body["max_tokens"] for body in bodies] == [64_000, 1234]
    assert rig.told()[0] == ("quota_exhausted", 402)
    assert served.attempt.candidate.endpoint.provider == "p1"
    assert "`max_tokens` was lowered to 1234" in served.attempt.warnings[-1]


async def test_pitfall_19_an_account_that_can_pay_for_nothing_is_asked_once_less_then_left() -> (
    None
):
    caps: list[int] = []

    async def broke(peer: Peer) -> None:
        while request := await peer.read_request():
            asked_for = json.loads(request.partition(b"\r\n\r\n")[2])["max_tokens"]
            caps.append(asked_for)
            message = f"This needs more credits; you can only afford {asked_for // 2}."
            await peer.say(answer_of(402, {"error": {"message": message}}))

    async with (
        serve(broke) as server,
        rig_on(None, Offer(base_url=str(server.url.copy_with(path="/v1")))) as rig,
    ):
        with pytest.raises(UpstreamError) as caught:
            await rig.run(max_tokens=1000)

    assert caps == [1000, 500]
    assert (caught.value.status, caught.value.code) == (502, "provider_quota")


def answer_of(status: int, body: Any) -> bytes:
    """An HTTP answer: JSON, or an event stream given as text."""
    is_stream = isinstance(body, str)
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/event-stream" if is_stream else "application/json"
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data
