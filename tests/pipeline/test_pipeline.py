"""One request from top to bottom: what the client gets, and what is remembered of it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from gateway.domain.errors import (
    GatewayError,
    InvalidRequestError,
    ModelNotFoundError,
    NoEndpointError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
)
from gateway.domain.ids import parse_generation_id
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptBegun, RequestRecord
from gateway.ledger.spool import SpoolUnwritableError
from gateway.providers.base import Quirks
from gateway.simulator.server import Simulator
from gateway.snapshot.snapshot import Snapshot
from tests.pipeline.rig import (
    PATIENT,
    QUICK,
    SECRET,
    Offer,
    Rig,
    asked,
    read_all,
    rig_on,
    text_of,
    until,
)
from tests.routing.factories import make_caller

pytestmark = pytest.mark.anyio


def dollars(number: Any) -> Decimal:
    return Decimal(str(number))


def check_money(usage: dict[str, Any], record: RequestRecord) -> None:
    """The identities between the names of the published APIs, and with the record."""
    total = dollars(usage["cost_usd_total"])
    parts = ("input", "output", "cached_input", "cache_write", "request", "web_search")
    assert sum(dollars(usage[f"cost_usd_{part}"]) for part in parts) == total
    assert dollars(usage["cost"]) == total
    assert dollars(usage["cost_details"]["upstream_inference_cost"]) == total
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    served = record.attempts[-1]
    assert served.usage is not None
    assert usage["prompt_tokens"] == served.usage.prompt_tokens
    assert usage["completion_tokens"] == served.usage.completion_tokens
    assert total == served.cost.total_usd


class TestAWholeAnswer:
    async def test_carries_the_cost_and_where_it_comes_from(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="tokens=40,cached=3")) as rig:
            answer, body = await rig.whole()

        usage = body["usage"]
        check_money(usage, rig.ledger.only)
        uncached = usage["prompt_tokens"] - 3
        expected = (uncached * Decimal(1) + 3 * Decimal(1) + 40 * Decimal(2)) / 1_000_000
        assert dollars(usage["cost_usd_output"]) == Decimal("0.00008")
        assert dollars(usage["cost"]) == expected
        assert usage["cost_status"] in {"exact", "upper_bound"}
        assert (body["model"], body["provider"]) == ("acme/large", "p1")
        assert body["object"] == "chat.completion"
        metadata = body["metadata"]
        assert metadata["requested_model"] == "acme/large"
        assert metadata["used_model"] == "acme/large"
        assert metadata["used_provider"] == "p1"
        assert len(metadata["routing"]) == 1
        assert metadata["routing"][0]["succeeded"] is True
        assert answer.status == 200

    async def test_has_its_record_before_it_is_returned(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer()) as rig:
            _, body = await rig.whole(user="user-7")
            record = rig.ledger.only

        assert record.id == parse_generation_id(body["id"])
        assert (record.status_code, record.outcome) == (200, Outcome.SUCCESS)
        assert record.cost_usd == dollars(body["usage"]["cost"])
        assert (record.user, record.requested_model) == ("user-7", "acme/large")
        assert record.overhead_ms is not None
        assert 0 < record.overhead_ms < record.duration_ms
        assert record.attempts[0].usage_source == "reported"
        assert record.plan["seed"]
        assert [begun.request_id for begun in rig.ledger.begun] == [record.id]

    async def test_names_provider_model_attempts_and_cost_in_its_headers(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="500"), Offer()) as rig:
            answer, body = await rig.whole()

        headers = dict(answer.headers)
        assert headers["content-type"] == "application/json"
        assert headers["x-generation-id"] == body["id"]
        assert headers["x-tollway-attempts"] == "2"
        assert headers["x-tollway-provider"] == "p2"
        assert headers["x-tollway-model"] == "acme/large"
        assert dollars(headers["x-tollway-cost-usd"]) == dollars(body["usage"]["cost"])
        assert headers["x-tollway-strategy"] == "order"

    async def test_after_a_fallback_tells_of_both_attempts(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="429,retry_after=2"), Offer()) as rig:
            _, body = await rig.whole()

        first, second = body["metadata"]["routing"]
        assert (first["provider"], first["status_code"], first["succeeded"]) == ("p1", 429, False)
        assert first["error_type"] == "rate_limited"
        assert (second["provider"], second["status_code"], second["succeeded"]) == ("p2", 200, True)
        record = rig.ledger.only
        assert record.is_fallback
        assert [attempt.outcome for attempt in record.attempts] == [
            Outcome.RATE_LIMITED,
            Outcome.SUCCESS,
        ]
        assert record.attempts[0].cost.total_usd == 0
        assert record.attempts[0].retry_after_ms == 2_000
        assert record.cost_usd == record.attempts[1].cost.total_usd

    async def test_says_which_parameters_were_dropped(self, simulator: Simulator) -> None:
        quirks = Quirks(refused_parameters=frozenset({"logit_bias"}))
        async with rig_on(simulator, Offer(quirks=quirks)) as rig:
            answer, body = await rig.whole(logit_bias={"50256": -100})

        assert "logit_bias" in " ".join(body["metadata"]["warnings"])
        assert "logit_bias" in dict(answer.headers)["x-tollway-warnings"]
        assert "logit_bias" in " ".join(rig.ledger.only.warnings)

    @pytest.mark.parametrize(
        ("do", "is_estimated", "status"),
        [("usage_missing", True, "estimated"), ("usage_zero", False, "exact")],
    )
    async def test_tells_a_missing_usage_from_a_reported_zero(
        self, simulator: Simulator, do: str, is_estimated: bool, status: str
    ) -> None:
        async with rig_on(simulator, Offer(do=do)) as rig:
            _, body = await rig.whole()

        usage = body["usage"]
        assert usage.get("is_estimated", False) is is_estimated
        assert usage["cost_status"] == status
        assert (usage["cost"] > 0) is is_estimated

    async def test_of_a_model_without_a_price_costs_null_and_never_zero(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer()) as rig:
            unpriced = [msgspec.structs.replace(rig.endpoints[0], prices=())]
            rig.snapshots.current = Snapshot(
                catalogue=rig.catalogue.with_endpoints(rig.catalogue.providers.values(), unpriced)
            )
            answer, body = await rig.whole()

        assert body["usage"]["cost"] is None
        assert body["usage"]["cost_usd_total"] is None
        assert dict(answer.headers)["x-tollway-cost-usd"] == "null"
        assert rig.ledger.only.cost_usd is None


class TestAStream:
    @pytest.mark.parametrize("include_usage", [False, True])
    async def test_has_its_record_before_the_last_event(
        self, simulator: Simulator, include_usage: bool
    ) -> None:
        async with rig_on(simulator, Offer(do="tokens=4,tokens_per_s=200")) as rig:
            answer = await rig.stream(stream_options={"include_usage": include_usage})
            recorded: list[int] = []
            chunks: list[bytes] = []
            async for data in answer.events:
                recorded.append(len(rig.ledger.records))
                chunks.append(data)

        assert chunks[-1].endswith(b"data: [DONE]\n\n")
        assert recorded[-1] == 1
        assert set(recorded[:-1]) == {0}

    async def test_puts_the_accounts_on_the_chunk_with_the_finish_reason(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="tokens=9")) as rig:
            events = await read_all(await rig.stream())

        assert events[-1] == "[DONE]"
        last = events[-2]
        assert last["choices"][0]["finish_reason"] == "stop"
        check_money(last["usage"], rig.ledger.only)
        assert last["metadata"]["used_provider"] == "p1"
        assert len(last["metadata"]["routing"]) == 1
        earlier = events[:-2]
        assert not any("usage" in event or "metadata" in event for event in earlier)
        assert all(event["object"] == "chat.completion.chunk" for event in events[:-1])
        assert {event["id"] for event in events[:-1]} == {last["id"]}

    async def test_with_include_usage_keeps_openais_order_of_finish_and_usage(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="tokens=9")) as rig:
            events = await read_all(await rig.stream(stream_options={"include_usage": True}))

        *earlier, finish, accounts, done = events
        assert done == "[DONE]"
        assert accounts["choices"] == []
        check_money(accounts["usage"], rig.ledger.only)
        assert accounts["metadata"]["used_provider"] == "p1"
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert not any("usage" in event for event in [*earlier, finish])

    async def test_says_the_same_words_as_the_provider(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="text=every road leads home")) as rig:
            events = await read_all(await rig.stream())

        assert text_of(events) == "every road leads home"

    async def test_names_its_endpoint_and_the_attempt_in_headers_and_record(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="503"), Offer()) as rig:
            answer = await rig.stream()
            await read_all(answer)

        headers = dict(answer.headers)
        assert headers["content-type"] == "text/event-stream"
        assert headers["x-tollway-attempts"] == "2"
        assert headers["x-generation-id"].startswith("gen-")
        record = rig.ledger.only
        assert record.stream
        assert record.is_fallback
        assert record.ttft_ms is not None
        assert 0 < record.ttft_ms <= record.duration_ms

    async def test_of_several_choices_ends_each_of_them(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="tokens=3")) as rig:
            events = await read_all(await rig.stream(n=3))

        finished = [
            choice["index"]
            for event in events[:-1]
            for choice in event["choices"]
            if choice.get("finish_reason")
        ]
        assert sorted(finished) == [0, 1, 2]
        assert sum("usage" in event for event in events[:-1]) == 1

    @pytest.mark.parametrize(
        ("do", "outcome"),
        [
            ("hang_mid@2", Outcome.IDLE_TIMEOUT),
            ("reset_mid@2", Outcome.READ_ERROR),
            ("truncated@2", Outcome.READ_ERROR),
            ("no_finish,usage_missing", Outcome.TRUNCATED),
        ],
    )
    async def test_that_breaks_ends_with_an_error_and_done_and_is_not_given_to_another(
        self, simulator: Simulator, do: str, outcome: Outcome
    ) -> None:
        async with rig_on(simulator, Offer(do=do), Offer(), deadlines=QUICK) as rig:
            events = await read_all(await rig.stream())

        assert events[-1] == "[DONE]"
        error = events[-2]
        assert error["choices"][0]["finish_reason"] == "error"
        assert set(error["error"]) >= {"message", "type", "code"}
        assert error["error"]["metadata"]["provider_name"] == "p1"
        assert text_of(events)
        record = rig.ledger.only
        assert record.outcome is outcome
        assert record.error_kind == error["error"]["code"]
        (attempt,) = record.attempts
        assert attempt.usage_source == "estimated"
        assert attempt.cost.total_usd
        assert record.cost_status == "estimated"

    async def test_whose_caller_hangs_up_is_recorded_with_what_was_produced(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="endless,tokens_per_s=500")) as rig:
            answer = await rig.stream()
            for _ in range(3):
                await anext(answer.events)
            await answer.events.aclose()
            closed_s = asyncio.get_running_loop().time()
            entry = asked(simulator)[0]
            await until(lambda: entry.outcome == "client_closed")

        assert entry.closed_at is not None
        assert entry.closed_at - closed_s < 0.1
        record = rig.ledger.only
        assert (record.outcome, record.status_code) == (Outcome.CLIENT_CANCELLED, 499)
        (attempt,) = record.attempts
        assert attempt.outcome is Outcome.CLIENT_CANCELLED
        assert attempt.usage is not None
        assert attempt.usage.output_tokens > 0
        assert attempt.usage_source == "estimated"
        assert record.cost_usd

    async def test_whose_caller_hangs_up_is_read_on_where_the_provider_bills_anyway(
        self, simulator: Simulator
    ) -> None:
        offer = Offer(do="tokens=40,tokens_per_s=200", drains_on_disconnect=True)
        async with rig_on(simulator, offer) as rig:
            answer = await rig.stream()
            reading = asyncio.create_task(read_all(answer))
            await until(lambda: asked(simulator)[0].events_sent >= 3)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await until(lambda: bool(rig.ledger.records))
            entry = asked(simulator)[0]

        assert entry.outcome == "completed"
        record = rig.ledger.only
        assert (record.outcome, record.status_code) == (Outcome.CLIENT_CANCELLED, 499)
        (attempt,) = record.attempts
        assert attempt.usage is not None
        assert attempt.usage.completion_tokens == 40
        assert (attempt.usage_source, attempt.cost.status) == ("reported", "exact")

    async def test_whose_task_is_cancelled_while_it_waits_is_recorded_as_given_up(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="hang_mid@2")) as rig:
            answer = await rig.stream()
            task = asyncio.create_task(read_all(answer))
            await until(lambda: asked(simulator)[0].events_sent >= 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await answer.events.aclose()
            await until(lambda: asked(simulator)[0].outcome == "client_closed")

        assert rig.ledger.only.outcome is Outcome.CLIENT_CANCELLED
        assert len(rig.ledger.only.attempts) == 1

    async def test_that_a_shutdown_cuts_off_says_so_and_is_recorded(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="hang_mid@2")) as rig:
            answer = await rig.stream()
            task = asyncio.create_task(read_all(answer))
            await until(lambda: asked(simulator)[0].events_sent >= 2)
            await asyncio.sleep(0.02)
            rig.interruption.outcome = Outcome.GATEWAY_SHUTDOWN
            task.cancel()
            events = await task

        assert events[-1] == "[DONE]"
        assert events[-2]["error"]["code"] == "server_shutdown"
        assert events[-2]["choices"][0]["finish_reason"] == "error"
        record = rig.ledger.only
        assert (record.outcome, record.status_code) == (Outcome.GATEWAY_SHUTDOWN, 503)
        assert record.attempts[0].outcome is Outcome.GATEWAY_SHUTDOWN
        assert record.attempts[0].usage_source == "estimated"

    async def test_that_is_given_up_before_its_first_event_is_recorded_and_stopped(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="hang_mid@2")) as rig:
            answer = await rig.stream()
            await answer.events.aclose()
            await until(lambda: asked(simulator)[0].outcome == "client_closed")

        assert rig.ledger.only.outcome is Outcome.CLIENT_CANCELLED
        assert len(rig.ledger.only.attempts) == 1

    async def test_given_up_after_its_last_event_stays_a_success(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer()) as rig:
            answer = await rig.stream()
            while not rig.ledger.records:
                await anext(answer.events)
            await answer.events.aclose()

        assert rig.ledger.only.outcome is Outcome.SUCCESS

    async def test_is_not_begun_when_everybody_fails_so_the_status_can_say_it(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="429,retry_after=9"), Offer(do="429")) as rig:
            with pytest.raises(RateLimitedError) as caught:
                await rig.stream()

        assert caught.value.retry_after_s == 9
        assert rig.ledger.only.status_code == 429


class TestARefusedRequest:
    async def test_for_an_unknown_model_names_the_nearest_and_leaves_a_record(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer()) as rig:
            with pytest.raises(ModelNotFoundError) as caught:
                await rig.answer(model="acme/larg")

        assert caught.value.metadata["nearest"][0] == "acme/large"
        record = rig.ledger.only
        assert (record.status_code, record.outcome) == (404, Outcome.REFUSED)
        assert (record.error_kind, record.attempts) == ("model_not_found", ())
        assert record.cost_usd == 0
        assert record.requested_model == "acme/larg"
        assert asked(simulator) == []

    async def test_that_no_endpoint_fits_leaves_a_record_without_attempts(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer()) as rig:
            with pytest.raises(NoEndpointError) as caught:
                await rig.answer(provider={"max_price": {"prompt": "0.01"}})

        assert caught.value.metadata["excluded_by"] == {"max_price": 1}
        assert (rig.ledger.only.status_code, rig.ledger.only.attempts) == (404, ())

    async def test_that_its_key_forbids_is_a_403_with_a_record(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer()) as rig:
            with pytest.raises(PermissionDeniedError):
                await rig.answer(caller=make_caller(allowed_models=("other/*",)))

        assert rig.ledger.only.status_code == 403

    async def test_that_is_malformed_leaves_none(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer()) as rig:
            with pytest.raises(InvalidRequestError):
                await rig.answer(model="auto")

        assert rig.ledger.records == []

    async def test_is_not_begun_while_nothing_can_be_remembered(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer()) as rig:
            rig.ledger.is_writable = False
            with pytest.raises(OverloadedError) as caught:
                await rig.answer()

        assert (caught.value.status, caught.value.code) == (503, "spool_unwritable")
        assert asked(simulator) == []


class TestWhenEveryEndpointFails:
    async def test_the_record_has_the_last_outcome_and_the_clients_status(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="500"), Offer(do="401"), max_attempts=2) as rig:
            with pytest.raises(GatewayError) as caught:
                await rig.answer()

        record = rig.ledger.only
        assert caught.value.status == record.status_code == 502
        assert record.outcome is Outcome.AUTH_FAILED
        assert record.error_kind == "provider_auth"
        assert record.cost_usd == 0
        assert record.used_provider is None
        assert not record.is_fallback
        assert len(record.attempts) == 2
        assert SECRET not in repr(record)

    async def test_a_timeout_is_charged_as_an_estimate(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="hang"), deadlines=QUICK, max_attempts=1) as rig:
            with pytest.raises(GatewayError):
                await rig.answer()

        record = rig.ledger.only
        assert record.status_code == 504
        assert record.cost_status == "estimated"
        assert record.cost_usd

    async def test_its_outages_order_the_next_request_differently(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="500"), Offer(), Offer()) as rig:
            await rig.whole()
            await rig.whole(provider=None)

        assert [entry.model for entry in asked(simulator)] == ["large!500", "large", "large"]


class TestACallerWhoHangsUpBeforeTheAnswer:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_is_recorded_and_its_upstream_connection_closed(
        self, simulator: Simulator, stream: bool
    ) -> None:
        async with rig_on(simulator, Offer(do="hang")) as rig:
            task = asyncio.create_task(rig.answer(stream=stream))
            await until(lambda: len(asked(simulator)) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: asked(simulator)[0].outcome == "client_closed")

        record = rig.ledger.only
        assert (record.outcome, record.status_code) == (Outcome.CLIENT_CANCELLED, 499)
        assert [attempt.outcome for attempt in record.attempts] == [Outcome.CLIENT_CANCELLED]
        assert record.cost_status == "estimated"

    async def test_because_of_a_shutdown_is_recorded_as_that(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="hang")) as rig:
            task = asyncio.create_task(rig.answer())
            await until(lambda: len(asked(simulator)) == 1)
            rig.interruption.outcome = Outcome.GATEWAY_SHUTDOWN
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert rig.ledger.only.outcome is Outcome.GATEWAY_SHUTDOWN
        assert rig.ledger.only.status_code == 503


class Failing(httpx.AsyncBaseTransport):
    """A bug: raises what no transport may raise."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError(str(request.url))


class BreakingStream(httpx.AsyncByteStream, httpx.AsyncBaseTransport):
    """A bug in mid-stream."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=self)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        chunk = {"choices": [{"index": 0, "delta": {"content": "hi"}}]}
        yield f"data: {json.dumps(chunk)}\n\n".encode()
        raise ZeroDivisionError

    async def aclose(self) -> None:
        """Nothing is held."""


class TestABugOfOurs:
    async def test_before_the_answer_leaves_a_record_that_says_so(self) -> None:
        async with rig_on(None, Offer(), transport=Failing()) as rig:
            with pytest.raises(ZeroDivisionError):
                await rig.answer()

        record = rig.ledger.only
        assert (record.outcome, record.status_code) == (Outcome.GATEWAY_ERROR, 500)
        assert [attempt.outcome for attempt in record.attempts] == [Outcome.GATEWAY_ERROR]

    async def test_in_mid_stream_is_not_recorded_as_the_callers_doing(self) -> None:
        async with rig_on(None, Offer(), transport=BreakingStream(), deadlines=PATIENT) as rig:
            answer = await rig.stream()
            with pytest.raises(ZeroDivisionError):
                await read_all(answer)

        record = rig.ledger.only
        assert record.outcome is Outcome.GATEWAY_ERROR
        assert record.attempts[0].outcome is Outcome.GATEWAY_ERROR
        assert record.attempts[0].usage_source == "estimated"


class TestADiskThatFillsUpMeanwhile:
    """The ledger said it was writable, and then it was not."""

    @staticmethod
    def refuse(rig: Rig, *, begun: bool = False, record: bool = False) -> None:
        def append_begun(_: AttemptBegun) -> None:
            raise SpoolUnwritableError("disk full")

        def append_record(_: RequestRecord) -> None:
            raise SpoolUnwritableError("disk full")

        if begun:
            rig.ledger.append_begun = append_begun  # type: ignore[method-assign]
        if record:
            rig.ledger.append_record = append_record  # type: ignore[method-assign]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_before_the_attempt_sends_nothing_upstream(
        self, simulator: Simulator, stream: bool
    ) -> None:
        async with rig_on(simulator, Offer()) as rig:
            self.refuse(rig, begun=True, record=True)
            with pytest.raises(OverloadedError) as caught:
                await rig.answer(stream=stream)

        assert caught.value.code == "spool_unwritable"
        assert asked(simulator) == []

    async def test_before_a_whole_answer_withholds_it(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer()) as rig:
            self.refuse(rig, record=True)
            with pytest.raises(OverloadedError):
                await rig.answer()

    async def test_at_the_end_of_a_stream_ends_it_with_an_error(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer()) as rig:
            answer = await rig.stream()
            self.refuse(rig, record=True)
            events = await read_all(answer)

        assert events[-1] == "[DONE]"
        assert events[-2]["error"]["code"] == "spool_unwritable"


async def test_ids_of_concurrent_requests_are_all_different(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer()) as rig:
        await asyncio.gather(*(rig.whole() for _ in range(30)))

    assert len({record.id for record in rig.ledger.records}) == 30


async def test_the_snapshot_a_request_began_with_is_the_one_it_ends_with(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="first_token_ms=80")) as rig:
        task = asyncio.create_task(rig.whole())
        await until(lambda: len(asked(simulator)) == 1)
        rig.snapshots.current = Snapshot(catalogue=rig.catalogue.restricted_to([]))
        _, body = await task

    assert body["usage"]["cost"] is not None
