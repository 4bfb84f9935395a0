"""What attempts cost when providers report, do not report, or fail, and how requests add up."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord
from gateway.ledger.settle import (
    RequestEnd,
    RequestFacts,
    begin_attempt,
    settle_attempt,
    settle_request,
)
from pricing.price import Change, Price, PriceVersion, ServiceTier, SizeTier
from pricing.usage import Usage
from tests.execution.samples import STARTED_AT, make_end, make_start
from tests.ledger.facts import FACTS
from tests.routing.factories import make_endpoint, make_price

PROMPT = 120
UNBILLED = [
    Outcome.CONNECT_ERROR,
    Outcome.TLS_ERROR,
    Outcome.CONNECT_TIMEOUT,
    Outcome.SERVER_ERROR,
    Outcome.OVERLOADED,
    Outcome.BAD_RESPONSE,
    Outcome.RATE_LIMITED,
    Outcome.QUOTA_EXHAUSTED,
    Outcome.AUTH_FAILED,
    Outcome.NOT_FOUND,
    Outcome.CONTEXT_LENGTH,
    Outcome.CONTENT_FILTER,
    Outcome.UNSUPPORTED,
    Outcome.TOO_LARGE,
    Outcome.INVALID_REQUEST,
    Outcome.GATEWAY_ERROR,
]
MAYBE_BILLED = [
    Outcome.FIRST_TOKEN_TIMEOUT,
    Outcome.IDLE_TIMEOUT,
    Outcome.TOTAL_TIMEOUT,
    Outcome.READ_ERROR,
    Outcome.TRUNCATED,
    Outcome.CLIENT_CANCELLED,
    Outcome.GATEWAY_SHUTDOWN,
    Outcome.SUPERSEDED,
    Outcome.BUDGET_EXCEEDED,
]


def settle(outcome: Outcome = Outcome.SUCCESS, **changes: Any) -> AttemptRecord:
    return settle_attempt(make_end(outcome, **changes), prompt_tokens_estimate=PROMPT)


def usd(text: str) -> Decimal:
    return Decimal(text)


def test_reported_usage_is_priced_exactly() -> None:
    record = settle(usage=Usage(input_tokens=1_000, output_tokens=500, requests=1))

    assert record.usage_source == "reported"
    assert record.cost.total_usd == usd("0.002")
    assert record.cost.status == "exact"
    assert record.cost.lines["input_tokens"] == usd("0.001")
    assert record.cost.lines["output_tokens"] == usd("0.001")
    assert record.cost.price_version == "v1"


def test_a_reported_zero_stays_zero_and_exact() -> None:
    record = settle(usage=Usage(), text_bytes=400)

    assert record.usage == Usage()
    assert record.usage_source == "reported"
    assert (record.cost.total_usd, record.cost.status) == (0, "exact")


def test_missing_usage_is_estimated_from_the_prompt_and_the_bytes_that_came() -> None:
    record = settle(text_bytes=401)

    assert record.usage == Usage(input_tokens=PROMPT, output_tokens=101, requests=1)
    assert record.usage_source == "estimated"
    assert record.cost.status == "estimated"
    assert record.cost.total_usd == usd("0.000322")


def test_usage_that_contradicts_itself_makes_the_cost_an_estimate() -> None:
    record = settle(usage=Usage(input_tokens=1_000), is_usage_doubtful=True)

    assert record.usage_source == "reported"
    assert record.cost.status == "estimated"


@pytest.mark.parametrize("outcome", UNBILLED)
def test_a_refusal_before_any_content_costs_exactly_nothing(outcome: Outcome) -> None:
    record = settle(outcome)

    assert (record.usage, record.usage_source) == (None, None)
    assert (record.cost.total_usd, record.cost.status) == (0, "exact")


@pytest.mark.parametrize("outcome", MAYBE_BILLED)
def test_work_that_may_have_begun_is_charged_as_an_estimate_of_the_prompt(
    outcome: Outcome,
) -> None:
    record = settle(outcome)

    assert record.usage == Usage(input_tokens=PROMPT, requests=1)
    assert record.cost.total_usd == usd("0.00012")
    assert record.cost.status == "estimated"


@pytest.mark.parametrize("outcome", [*UNBILLED, *MAYBE_BILLED])
def test_content_that_came_is_charged_whatever_happened_next(outcome: Outcome) -> None:
    record = settle(outcome, text_bytes=40)

    assert record.usage is not None
    assert record.usage.output_tokens == 10
    assert record.cost.status == "estimated"


def test_every_outcome_of_an_attempt_is_either_billed_or_not() -> None:
    not_of_attempts = {Outcome.SUCCESS, Outcome.REFUSED, Outcome.UNKNOWN_CRASH}

    assert {*UNBILLED, *MAYBE_BILLED} == set(Outcome) - not_of_attempts


def test_an_endpoint_without_a_price_costs_an_unknown_amount() -> None:
    record = settle(endpoint=make_endpoint(price=None), usage=Usage(input_tokens=10))

    assert record.cost.total_usd is None
    assert record.cost.status == "unpriced"


def test_a_refusal_by_an_endpoint_without_a_price_still_costs_nothing() -> None:
    assert settle(Outcome.RATE_LIMITED, endpoint=make_endpoint(price=None)).cost.total_usd == 0


def tiered() -> PriceVersion:
    """Dearer from 200 prompt tokens on, and half of it when served as ``flex``."""
    return PriceVersion(
        id="v1",
        base=Price(version="v1", input_usd_per_mtok=usd("1"), output_usd_per_mtok=usd("2")),
        size_tiers=(
            SizeTier(
                min_prompt_tokens=200,
                change=Change(
                    rates={"input_usd_per_mtok": usd("3"), "output_usd_per_mtok": usd("4")}
                ),
            ),
        ),
        service_tiers={"flex": ServiceTier(change=Change(scale=usd("0.5")))},
    )


def test_the_price_is_that_of_the_true_prompt_and_not_of_the_estimate() -> None:
    start = make_start(make_endpoint(price=tiered()))
    assert start.price is not None
    assert start.price.input_usd_per_mtok == 1

    record = settle(start=start, usage=Usage(input_tokens=1_000, output_tokens=100))
    assert record.cost.total_usd == usd("0.0034")


def test_the_price_is_that_of_the_tier_that_served() -> None:
    start = make_start(make_endpoint(price=tiered()))
    record = settle(start=start, usage=Usage(input_tokens=100), service_tier="flex")

    assert record.cost.total_usd == usd("0.00005")


def test_the_price_is_that_of_the_instant_the_attempt_began() -> None:
    old, new = make_price("1", "1"), make_price("9", "9")
    old = msgspec.structs.replace(old, effective_to=STARTED_AT)
    new = msgspec.structs.replace(new, id="v2", effective_from=STARTED_AT)
    endpoint = msgspec.structs.replace(make_endpoint(), prices=(old, new))
    record = settle(endpoint=endpoint, usage=Usage(input_tokens=1_000))

    assert record.cost.total_usd == usd("0.009")


def test_what_the_provider_itself_reports_as_cost_wins() -> None:
    record = settle(usage=Usage(input_tokens=1_000), reported_cost_usd=usd("0.25"))

    assert record.cost.total_usd == usd("0.25")
    assert record.cost.source == "provider_reported"
    assert record.cost.computed_usd == usd("0.001")


def test_messages_and_codes_of_providers_are_cut_to_their_columns() -> None:
    record = settle(Outcome.SERVER_ERROR, error_code="c" * 100, error_message="m" * 900)

    assert record.error_code == "c" * 64
    assert record.error_message == "m" * 512


def test_what_the_attempt_was_and_saw_is_carried_over() -> None:
    record = settle(
        status_code=200,
        upstream_id="chatcmpl-1",
        ttft_ms=12.5,
        finish_reason="length",
        native_finish_reason="max_tokens",
        service_tier="flex",
        retry_after_ms=5.0,
        usage=Usage(),
    )

    assert (record.number, record.kind, record.provider) == (1, "primary", "alpha")
    assert (record.model, record.provider_model) == ("acme/large", "large")
    assert (record.started_at, record.status_code) == (STARTED_AT, 200)
    assert (record.ttft_ms, record.duration_ms) == (12.5, 500)
    assert (record.finish_reason, record.native_finish_reason) == ("length", "max_tokens")
    assert (record.service_tier, record.upstream_id) == ("flex", "chatcmpl-1")
    assert record.retry_after_ms == 5


def test_an_attempt_that_begins_is_worth_its_prompt() -> None:
    begun = begin_attempt(FACTS, make_start(), prompt_tokens_estimate=PROMPT)

    assert (begun.request_id, begun.number, begun.endpoint) == (FACTS.id, 1, "alpha/large")
    assert begun.estimated_usage == Usage(input_tokens=PROMPT, requests=1)
    assert begun.estimated_cost.total_usd == usd("0.00012")
    assert begun.estimated_cost.status == "estimated"


class TestARequest:
    @staticmethod
    def end(**changes: Any) -> RequestEnd:
        values: dict[str, Any] = {
            "status_code": 200,
            "outcome": Outcome.SUCCESS,
            "duration_ms": 800.0,
            "plan": {"seed": 7},
        }
        return RequestEnd(**(values | changes))

    def test_costs_the_sum_of_its_attempts(self) -> None:
        other = make_endpoint("beta", price=make_price("10", "20"))
        attempts = [
            settle(Outcome.FIRST_TOKEN_TIMEOUT),
            settle(endpoint=other, usage=Usage(input_tokens=100, output_tokens=10)),
        ]
        record = settle_request(FACTS, self.end(), attempts)

        assert record.tags == {"env": "prod"}
        assert record.rule_version == "r1"
        assert record.cost_usd == usd("0.00012") + usd("0.0012")
        assert record.cost_status == "estimated"
        assert record.attempts == tuple(attempts)

    def test_with_an_attempt_of_unknown_price_costs_an_unknown_amount(self) -> None:
        attempts = [
            settle(usage=Usage(input_tokens=1)),
            settle(endpoint=make_endpoint("beta", price=None), usage=Usage(input_tokens=1)),
        ]

        assert settle_request(FACTS, self.end(), attempts).cost_usd is None

    def test_without_attempts_costs_exactly_nothing(self) -> None:
        end = self.end(status_code=404, outcome=Outcome.REFUSED, error_kind="model_not_found")
        record = settle_request(FACTS, end, [])

        assert (record.cost_usd, record.cost_status) == (0, "exact")
        assert (record.used_model, record.used_endpoint, record.is_fallback) == (None, None, False)

    def test_was_a_fallback_when_another_endpoint_answered_than_was_tried_first(self) -> None:
        beta = make_endpoint("beta")
        failed, answered = settle(Outcome.SERVER_ERROR), settle(endpoint=beta, usage=Usage())

        assert settle_request(FACTS, self.end(), [failed, answered]).is_fallback
        assert not settle_request(FACTS, self.end(), [answered]).is_fallback

    def test_was_none_when_the_same_endpoint_answered_at_its_second_try(self) -> None:
        attempts = [settle(Outcome.SERVER_ERROR), settle(usage=Usage())]

        assert not settle_request(FACTS, self.end(), attempts).is_fallback

    def test_was_none_when_nobody_answered(self) -> None:
        attempts = [
            settle(Outcome.SERVER_ERROR),
            settle(Outcome.SERVER_ERROR, endpoint=make_endpoint("beta")),
        ]
        record = settle_request(FACTS, self.end(outcome=Outcome.SERVER_ERROR), attempts)

        assert not record.is_fallback
        assert record.used_provider is None

    def test_names_who_answered_by_the_providers_own_word_or_by_ours(self) -> None:
        attempts = [settle(usage=Usage(), finish_reason="stop")]
        told = settle_request(FACTS, self.end(underlying_used_model="large-2026"), attempts)
        untold = settle_request(FACTS, self.end(), attempts)

        assert told.underlying_used_model == "large-2026"
        assert untold.underlying_used_model == "large"
        assert (told.used_model, told.used_provider) == ("acme/large", "alpha")
        assert (told.used_endpoint, told.finish_reason) == ("alpha/large", "stop")

    def test_keeps_the_facts_of_its_arrival(self) -> None:
        record = settle_request(FACTS, self.end(warnings=("top_k dropped",)), [])

        for name in RequestFacts.__struct_fields__:
            assert getattr(record, name) == getattr(FACTS, name)
        assert (record.warnings, record.plan) == (("top_k dropped",), {"seed": 7})


def test_attempts_are_remembered_in_the_order_they_began_whichever_ended_first() -> None:
    slow = make_end(
        Outcome.SUPERSEDED, start=make_start(make_endpoint("alpha", price=make_price("1", "2")))
    )
    quick = make_end(
        start=make_start(make_endpoint("beta", price=make_price("1", "2")), number=2, kind="hedge")
    )
    attempts = [settle_attempt(end, prompt_tokens_estimate=PROMPT) for end in (quick, slow)]

    end = RequestEnd(status_code=200, outcome=Outcome.SUCCESS, duration_ms=1.0, plan={})
    record = settle_request(FACTS, end, attempts)

    assert [attempt.number for attempt in record.attempts] == [1, 2]
    assert (record.used_provider, record.is_fallback) == ("beta", True)
