"""A logged request is decided again as it was decided then, or it is told why it cannot be."""

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.preferences import AutoPreferences, Bounds, ProviderPreferences
from gateway.chat.reasoning import Reasoning
from gateway.chat.request import ChatRequest
from gateway.domain.errors import GatewayError
from gateway.routing.embeddings import make_embedding_plan
from gateway.routing.engine import make_plan
from gateway.routing.logged import LoggedRequest, NotReplayed
from gateway.routing.plan import BalanceWeights, EndpointHealth, PlanInputs, Sticky
from gateway.routing.record import compact, without_plan
from gateway.routing.replaying import Decision, Installation, ReplayableRules, Situation, recall
from gateway.routing.replaying_facts import MOST_NAMES, facts_of, request_of
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import NO_RULES, RuleSet
from pricing.catalogue import Catalogue
from tests.properties import many
from tests.routing.factories import (
    AT,
    NOW_MS,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_price,
    make_request,
)
from tests.routing.rules.applying import SALT, rule, rules_of
from tests.routing.test_invariants import callers, endpoints, healths, preferences, requests

CATALOGUE = make_catalogue_of(
    make_endpoint("a", price="1"),
    make_endpoint("b", price="1.5"),
    make_endpoint("c", price="3"),
    make_endpoint("a", "acme/small", price="0.2"),
    make_endpoint("b", "acme/small", price="0.3"),
)
ONE_ONLY = rule('tighten = { only = ["b"] }', 'labels = { team = "search" }')


def here(catalogue: Catalogue, inputs: PlanInputs) -> Installation:
    return Installation(
        catalogue=catalogue,
        callers={inputs.caller.key_id: inputs.caller},
        aliases=inputs.aliases,
        slash_pins_provider=inputs.slash_pins_provider,
        configured_models=inputs.configured_models,
        auto_pool=inputs.auto_pool,
        fetches_media=inputs.fetches_media,
        strategy=inputs.strategy,
        balance=inputs.balance,
        salt=SALT,
    )


def logged(
    request: ChatRequest, inputs: PlanInputs, rules: RuleSet = NO_RULES, **fields: Any
) -> LoggedRequest | None:
    """What the gateway would have recorded; None when it would have refused."""
    ruled, governed = govern(rules, request, inputs, headers={}, secret_salt=SALT, api="chat")
    if ruled.denial is not None:
        plan, error_kind = without_plan(request, inputs.seed), "rule_denied"
    else:
        try:
            made = make_plan(ruled.request, governed)
        except GatewayError:
            return None
        plan, error_kind = compact(made, ruled.request, governed, request), None
    # As it comes back from the database.
    stored = {**json.loads(json.dumps(plan)), **json.loads(json.dumps(ruled.compact()))}
    return msgspec.structs.replace(
        LoggedRequest(
            id=UUID(int=1),
            received_at=inputs.at,
            key_id=inputs.caller.key_id,
            dialect=request.dialect.value,
            stream=request.stream,
            requested_model=request.models[0] if request.models else "",
            user=request.user,
            session_id=request.session_id,
            tags=request.labels,
            rule_version=ruled.version,
            error_kind=error_kind,
            used_model=None,
            used_provider=None,
            cost_usd=None,
            plan=msgspec.Raw(msgspec.json.encode(stored)),
            answer=None,
        ),
        **fields,
    )


def again(
    record: LoggedRequest | None, inputs: PlanInputs, rules: RuleSet = NO_RULES
) -> Decision | NotReplayed:
    assert record is not None
    situation = recall(record, here(inputs.catalogue, inputs))
    if not isinstance(situation, Situation):
        return situation
    return ReplayableRules(rules).decide(situation, SALT)


def drawn(record: LoggedRequest) -> str:
    return msgspec.json.decode(record.plan)["drawn_endpoint"]


@st.composite
def situations(draw: st.DrawFn) -> tuple[ChatRequest, PlanInputs]:
    catalogue = make_catalogue_of(*draw(endpoints()))
    request = msgspec.structs.replace(
        draw(requests()),
        choice_count=draw(st.sampled_from((1, 3))),
        parameters=draw(st.frozensets(st.sampled_from(("temperature", "tools", "model")))),
        session_id=draw(st.sampled_from((None, "s"))),
        prompt_tokens_estimate=draw(st.integers(0, 700)),
    )
    endpoint = draw(st.sampled_from(sorted(catalogue.endpoints_by_id)))
    learned = draw(st.sampled_from(({}, {"acme/large": 33.4}, {"acme/small": 7.0})))
    return request, make_inputs(
        catalogue,
        caller=draw(callers),
        health=draw(healths),
        seed=draw(st.integers(0, 2**53)),
        learned_output_tokens=learned,
        sticky=draw(
            st.none() | st.builds(Sticky, endpoint=st.just(endpoint), cached_share=st.floats(0, 1))
        ),
        strategy=draw(st.sampled_from(("price-weighted", "balanced"))),
        balance=draw(st.sampled_from((BalanceWeights(), BalanceWeights(price=0.1, latency=1)))),
    )


RULES = (
    NO_RULES,
    rules_of(rule('sort = "price"')),
    rules_of(rule('replace_models = ["acme/small"]', "prompt_tokens = { min = 300 }")),
    rules_of(rule('add_models = ["acme/small"]', 'lacks = ["tools"]')),
    rules_of(
        rule(
            'split = { by = "session", arms = [{ name = "x", weight = 1 }, '
            '{ name = "y", weight = 1, set = { order = ["b"] } }] }'
        )
    ),
    rules_of(rule('deny = "no"', 'models = ["acme/large"]')),
)


@settings(max_examples=many(150))
@given(situation=situations(), rules=st.sampled_from(RULES))
def test_under_the_rules_of_then_the_endpoint_drawn_then_is_drawn_again(
    situation: tuple[ChatRequest, PlanInputs], rules: RuleSet
) -> None:
    request, inputs = situation
    record = logged(request, inputs, rules)
    if record is None:
        return

    found = again(record, inputs, rules)

    if isinstance(found, NotReplayed):
        assert found is NotReplayed.SPEED
        return
    if record.error_kind == "rule_denied":
        assert found == Decision(endpoint=None, refusal="rule_denied", rules=("one",))
    else:
        assert found.endpoint == drawn(record)


@settings(max_examples=many(80))
@given(request=requests(), wishes=preferences)
def test_everything_that_decisions_read_of_a_request_is_kept(
    request: ChatRequest, wishes: ProviderPreferences
) -> None:
    request = msgspec.structs.replace(
        request,
        provider=wishes,
        parameters=frozenset({"temperature"}),
        auto=AutoPreferences(free_models_only=True, allowed_models=("acme/*",)),
        reasoning=Reasoning(effort="low"),
        image_count=2,
        names_addresses=True,
        user="ada",
        labels={"customer": "x"},
    )
    stored = json.loads(json.dumps(facts_of(request)))

    assert (
        request_of(
            stored,
            typed_model=request.models[0],
            dialect=request.dialect.value,
            stream=request.stream,
            prompt_tokens=request.prompt_tokens_estimate,
            user=request.user,
            session_id=request.session_id,
            tags=request.labels,
        )
        == request
    )


def test_rules_see_labels_metadata_and_features_of_then() -> None:
    caller = make_caller(labels={"team": "search"})
    inputs = make_inputs(CATALOGUE, caller=caller)
    request = make_request(sort="price", needs=frozenset({"tools"}), labels={"customer": "eu-1"})
    record = logged(request, inputs)

    assert again(record, inputs) == Decision(endpoint="a/large")
    for when in (
        'labels = { team = "search" }',
        'metadata = { customer = "eu-*" }',
        'has = ["tools"]',
        'models = ["acme/large"]',
        "prompt_tokens = { min = 500, max = 501 }",
        'hours = { zone = "UTC", from = "12:00", to = "12:01" }',
        'apis = ["chat"]',
    ):
        rules = rules_of(rule('tighten = { only = ["b"] }', when))
        assert again(record, inputs, rules) == Decision(endpoint="b/large", rules=("one",)), when


def test_what_is_denied_is_a_decision_and_so_is_what_nobody_may_serve() -> None:
    inputs = make_inputs(CATALOGUE)
    record = logged(make_request(), inputs)

    assert again(record, inputs, rules_of(rule('deny = "closed"'))) == Decision(
        endpoint=None, refusal="rule_denied", rules=("one",)
    )
    nobody = again(record, inputs, rules_of(rule("tighten = { max_price = { prompt = 0.01 } }")))
    assert isinstance(nobody, Decision)
    assert nobody.endpoint is None
    assert nobody.refusal


def test_what_was_denied_then_may_be_served_under_other_rules() -> None:
    inputs = make_inputs(CATALOGUE)
    record = logged(make_request(sort="price"), inputs, rules_of(rule('deny = "closed"')))

    assert again(record, inputs) == Decision(endpoint="a/large")


def test_a_rule_that_asks_for_headers_is_told_only_where_it_could_apply() -> None:
    inputs = make_inputs(CATALOGUE)
    record = logged(make_request(sort="price"), inputs)
    gold = 'headers = { x-tier = "gold" }'
    then = 'tighten = { only = ["b"] }'

    assert again(record, inputs, rules_of(rule(then, gold))) is NotReplayed.HEADERS
    elsewhere = rules_of(rule(then, gold + ', models = ["acme/small"]'))
    assert again(record, inputs, elsewhere) == Decision(endpoint="a/large")
    behind = rules_of(rule('labels = { x = "y" }', rest="stop = true") + rule(then, gold, name="b"))
    assert again(record, inputs, behind) == Decision(endpoint="a/large", rules=("one",))


def test_health_of_then_holds_and_other_endpoints_count_as_healthy() -> None:
    health = {
        "a/large": make_health(has_recent_outage=True),
        "b/large": EndpointHealth(open_until_ms=NOW_MS + 5),
        "c/large": EndpointHealth(is_credential_refused=True),
        "a/small": EndpointHealth(is_credential_refused=True),
    }
    inputs = make_inputs(CATALOGUE, health=health)
    record = logged(make_request(sort="price"), inputs)

    assert again(record, inputs) == Decision(endpoint="a/large")
    only = rules_of(rule('tighten = { only = ["b", "c"] }'))
    # The last resort: the one that rests, and never the one without a credential.
    assert again(record, inputs, only) == Decision(endpoint="b/large", rules=("one",))
    small = rules_of(rule('replace_models = ["acme/small"]'))
    assert again(record, inputs, small) == Decision(endpoint="a/small", rules=("one",))


def test_prices_are_those_of_the_request_s_own_time() -> None:
    then, now = make_price("1", "1"), make_price("9", "9")
    changed = make_endpoint(
        "a",
        price=msgspec.structs.replace(then, effective_to=AT.replace(day=22)),
    )
    changed = msgspec.structs.replace(
        changed,
        prices=(
            msgspec.structs.replace(then, effective_to=AT.replace(day=22)),
            msgspec.structs.replace(now, id="v2", effective_from=AT.replace(day=22)),
        ),
    )
    inputs = make_inputs(make_catalogue_of(changed, make_endpoint("b", price="5")))
    record = logged(make_request(sort="price"), inputs)
    assert record is not None
    later = msgspec.structs.replace(record, received_at=AT.replace(day=23))

    assert again(record, inputs) == Decision(endpoint="a/large")
    assert again(later, inputs) == Decision(endpoint="b/large")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"plan": {"seed": 1}}, NotReplayed.NO_FACTS),
        ({"plan": {"seed": "x"}}, NotReplayed.UNREADABLE),
        ({"plan": {"seed": 1, "asked": {"bytes": 1}}}, NotReplayed.NO_PLAN),
        ({"key_id": UUID(int=99)}, NotReplayed.KEY_UNKNOWN),
        ({"dialect": "klingon"}, NotReplayed.UNREADABLE),
    ],
)
def test_what_cannot_be_known_is_told(change: dict[str, Any], reason: NotReplayed) -> None:
    inputs = make_inputs(CATALOGUE)
    if "plan" in change:
        change = {"plan": msgspec.Raw(msgspec.json.encode(change["plan"]))}
    record = logged(make_request(), inputs, **change)

    assert again(record, inputs) is reason


@pytest.mark.parametrize(
    ("request_", "excluded_by", "reason"),
    [
        (make_request(), {"budget": 1}, NotReplayed.BUDGET),
        (make_request(), {"max_latency": 1}, NotReplayed.SPEED),
        (make_request(), {"breaker_open": 60}, NotReplayed.EXCLUSIONS_CUT),
        (make_request(max_latency_ms=Bounds(p99=5)), {}, NotReplayed.SPEED),
        (make_request(*map(str, range(MOST_NAMES + 1)), "acme/large"), {}, NotReplayed.TOO_LONG),
    ],
    ids=["budget", "speed", "cut", "percentile", "long"],
)
def test_what_was_not_stored_of_a_decision_is_told(
    request_: ChatRequest, excluded_by: dict[str, int], reason: NotReplayed
) -> None:
    inputs = make_inputs(CATALOGUE)
    plan = compact(make_plan(make_request(), inputs), request_, inputs, request_)
    plan["excluded_by"] = excluded_by
    record = logged(make_request(), inputs, plan=msgspec.Raw(msgspec.json.encode(plan)))

    assert again(record, inputs) is reason


def test_embeddings_are_planned_as_embeddings() -> None:
    catalogue = make_catalogue_of(
        make_endpoint("a", "acme/embed", price="1", mode="embedding"),
        make_endpoint("b", "acme/embed", price="2", mode="embedding"),
    )
    inputs = make_inputs(catalogue)
    request = make_request("acme/embed")
    plan = compact(make_embedding_plan(request, inputs), request, inputs, request)
    stored = msgspec.json.encode({"api": "embeddings", **plan})
    other = make_inputs(CATALOGUE)
    record = logged(make_request(), other, plan=msgspec.Raw(stored), requested_model="acme/embed")
    only = rules_of(rule('tighten = { only = ["b"] }', 'apis = ["embeddings"]'))

    assert again(record, inputs) == Decision(endpoint="a/embed")
    assert again(record, inputs, only) == Decision(endpoint="b/embed", rules=("one",))


def test_a_pool_that_is_another_one_now_is_told() -> None:
    catalogue = make_catalogue_of(
        make_endpoint("a", price="1", context_tokens=9_000),
        make_endpoint("a", "acme/small", price="0.2", context_tokens=9_000),
    )
    inputs = make_inputs(catalogue, auto_pool=("acme/large", "acme/small"))
    record = logged(make_request("auto"), inputs)

    assert again(record, inputs) == Decision(endpoint="a/small")
    fewer = msgspec.structs.replace(inputs, auto_pool=("acme/large",))
    assert again(record, fewer) is NotReplayed.AUTO_POOL
