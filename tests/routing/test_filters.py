from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.chat.dialects import Dialect
from gateway.domain.errors import NoEndpointError, PermissionDeniedError
from gateway.routing.engine import make_plan
from gateway.routing.plan import EndpointHealth, ExclusionReason, Plan
from gateway.routing.refusals import REMEDIES
from pricing.endpoint import Endpoint
from pricing.price import Change, PriceVersion, SizeTier
from tests.routing.factories import (
    AT,
    NOW_MS,
    ids,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_policy,
    make_price,
    make_request,
    reasons,
)

KEEPER = make_endpoint("keeper")
TOOLS = frozenset({"tools"})


def plan_of(*endpoints: Endpoint, caller: Any = None, health: Any = None, **wishes: Any) -> Plan:
    catalogue = make_catalogue_of(
        *endpoints,
        policies={
            "keeper": make_policy(zdr=True),
            "trainer": make_policy(trains=True),
            "hoarder": make_policy(retains=True),
            "vague": make_policy(trains=None),
        },
    )
    return make_plan(make_request(**wishes), make_inputs(catalogue, caller=caller, health=health))


@pytest.mark.parametrize(
    ("other", "wishes", "reason"),
    [
        pytest.param({}, {"only": ("keeper",)}, "only", id="only"),
        pytest.param({}, {"ignore": ("other",)}, "ignore", id="ignore"),
        pytest.param(
            {"provider": "other/turbo"}, {"ignore": ("other",)}, "ignore", id="ignore-variants"
        ),
        pytest.param({}, {"quantizations": ("fp8",)}, "quantization", id="quantization-unknown"),
        pytest.param(
            {"quantization": "fp4"}, {"quantizations": ("fp8",)}, "quantization", id="quantization"
        ),
        pytest.param(
            {"provider": "trainer"}, {"data_collection": "deny"}, "data_collection", id="trains"
        ),
        pytest.param(
            {"provider": "hoarder"}, {"data_collection": "deny"}, "data_collection", id="keeps"
        ),
        pytest.param(
            {"provider": "vague"}, {"data_collection": "deny"}, "data_collection", id="vague"
        ),
        pytest.param({}, {"data_collection": "deny"}, "data_collection", id="policy-unknown"),
        pytest.param({"provider": "trainer"}, {"zdr": True}, "zdr", id="zdr-unknown"),
        pytest.param(
            {}, {"enforce_distillable_text": True}, "distillable", id="distillable-unknown"
        ),
        pytest.param(
            {"price": "2.01"}, {"max_price": {"prompt_usd_per_mtok": "2"}}, "max_price", id="prompt"
        ),
        pytest.param(
            {"price": make_price("1", "3")},
            {"max_price": {"completion_usd_per_mtok": "2"}},
            "max_price",
            id="completion",
        ),
        pytest.param(
            {"price": make_price(request_usd=Decimal("0.01"))},
            {"max_price": {"request_usd": "0.005"}},
            "max_price",
            id="request",
        ),
        pytest.param(
            {"price": make_price(image_usd=Decimal("0.01"))},
            {"max_price": {"image_usd": "0.005"}},
            "max_price",
            id="image",
        ),
        pytest.param(
            {"price": make_price(audio_input_usd_per_mtok=Decimal(50))},
            {"max_price": {"audio_usd_per_mtok": "40"}},
            "max_price",
            id="audio",
        ),
        pytest.param(
            {"price": None}, {"max_price": {"request_usd": "9"}}, "max_price", id="unpriced"
        ),
        pytest.param({"context_tokens": 999}, {"max_output_tokens": 500}, "context", id="context"),
        pytest.param({"max_input_tokens": 499}, {}, "context", id="max-input"),
        pytest.param(
            {"max_output_tokens": 499}, {"max_output_tokens": 500}, "max_output", id="max-output"
        ),
        pytest.param({"mode": "embedding"}, {}, "mode", id="mode"),
        pytest.param({"retired_at": AT}, {}, "retired", id="retired"),
        pytest.param({"disabled_from": AT}, {}, "disabled", id="switched-off"),
    ],
)
def test_what_does_not_fit_is_excluded_with_its_reason(
    other: dict[str, Any], wishes: dict[str, Any], reason: str
) -> None:
    endpoint = make_endpoint(**({"provider": "other"} | other))
    keeper = make_endpoint(
        "keeper", quantization="fp8", capabilities={"distillable": True}, price="2"
    )

    plan = plan_of(keeper, endpoint, **wishes)

    assert ids(plan) == ["keeper/large"]
    assert reasons(plan) == {endpoint.id: reason}


@pytest.mark.parametrize(
    ("endpoint", "wishes"),
    [
        pytest.param({"price": "2"}, {"max_price": {"prompt_usd_per_mtok": "2.00"}}, id="at-cap"),
        pytest.param({"context_tokens": 1000}, {"max_output_tokens": 500}, id="just-fits"),
        pytest.param({"retired_at": AT + timedelta(seconds=1)}, {}, id="retires-soon"),
        pytest.param({"disabled_from": AT + timedelta(seconds=1)}, {}, id="switched-off-soon"),
        pytest.param(
            {"disabled_from": AT - timedelta(days=1), "disabled_to": AT}, {}, id="on-again"
        ),
        pytest.param({}, {"quantizations": ("unknown",)}, id="unknown-quantization-wanted"),
        pytest.param({}, {"max_price": {"request_usd": "0"}}, id="no-fee"),
        pytest.param({}, {"max_price": {"image_usd": "0"}}, id="images-as-tokens"),
        pytest.param({"price": None}, {}, id="unpriced-without-cap"),
        pytest.param({"price": None}, {"max_price": {}}, id="no-cap-at-all"),
    ],
)
def test_what_just_fits_may_serve(endpoint: dict[str, Any], wishes: dict[str, Any]) -> None:
    assert ids(plan_of(make_endpoint("other", **endpoint), **wishes)) == ["other/large"]


def test_audio_without_a_rate_is_unknown_under_a_cap_when_it_is_needed() -> None:
    hears = make_endpoint("other", modalities_in=("text", "audio"))

    with pytest.raises(NoEndpointError, match="audio price unknown"):
        plan_of(hears, needs=frozenset({"audio_input"}), max_price={"audio_usd_per_mtok": "40"})


def test_a_cap_is_checked_against_the_tier_of_this_prompt() -> None:
    base = make_price("1", "1")
    tier = SizeTier(min_prompt_tokens=500, change=Change(rates={"input_usd_per_mtok": Decimal(3)}))
    tiered = PriceVersion(id="v1", base=base.base, size_tiers=(tier,))

    plan = plan_of(
        KEEPER, make_endpoint("other", price=tiered), max_price={"prompt_usd_per_mtok": "2"}
    )

    assert reasons(plan) == {"other/large": "max_price"}


def test_a_price_that_is_only_estimated_fails_a_cap() -> None:
    wishes: dict[str, Any] = {"max_price": {"prompt_usd_per_mtok": "2"}}

    assert ids(plan_of(KEEPER, **wishes)) == ["keeper/large"]
    with pytest.raises(NoEndpointError, match="only estimated"):
        plan_of(KEEPER, service_tier="priority", **wishes)


def test_free_means_free() -> None:
    gift, paid = make_endpoint("gift", price="0"), make_endpoint("paid")
    unpriced = make_endpoint("unpriced", price=None)
    catalogue = make_catalogue_of(gift, paid, unpriced)

    plan = make_plan(make_request("acme/large:free"), make_inputs(catalogue))

    assert ids(plan) == ["gift/large"]
    assert reasons(plan) == {"paid/large": "not_free", "unpriced/large": "not_free"}


def test_a_key_with_a_hard_budget_never_gets_an_unpriced_endpoint() -> None:
    plan = plan_of(
        KEEPER, make_endpoint("other", price=None), caller=make_caller(has_hard_budget=True)
    )

    assert reasons(plan) == {"other/large": "unpriced"}


def test_the_keys_providers_and_models_are_a_ceiling() -> None:
    plan = plan_of(KEEPER, make_endpoint("other"), caller=make_caller(allowed_providers=("keep*",)))

    assert reasons(plan) == {"other/large": "key_provider"}
    with pytest.raises(PermissionDeniedError, match="key_model"):
        plan_of(KEEPER, caller=make_caller(allowed_models=("acme/small*",)))


def test_a_known_lack_excludes_and_the_unknown_only_beside_a_known_ability() -> None:
    able = make_endpoint("able", capabilities={"tools": True})
    unable = make_endpoint("unable", capabilities={"tools": False})
    unknown = make_endpoint("unknown")

    beside = plan_of(able, unable, unknown, needs=TOOLS)
    alone = plan_of(unable, unknown, needs=TOOLS)

    assert ids(beside) == ["able/large"]
    assert reasons(beside) == {"unable/large": "capability", "unknown/large": "capability"}
    assert ids(alone) == ["unknown/large"]


def test_an_ignored_ability_still_keeps_the_unknown_out() -> None:
    able, unknown = make_endpoint("able", capabilities={"tools": True}), make_endpoint("unknown")

    with pytest.raises(NoEndpointError):
        plan_of(able, unknown, needs=TOOLS, ignore=("able",))


def test_a_retired_ability_keeps_nobody_out() -> None:
    retired = make_endpoint("able", capabilities={"tools": True}, retired_at=AT)

    assert ids(plan_of(retired, make_endpoint("unknown"), needs=TOOLS)) == ["unknown/large"]


def test_a_pinned_endpoint_may_have_unknown_abilities() -> None:
    able, unknown = make_endpoint("able", capabilities={"tools": True}), make_endpoint("unknown")
    catalogue = make_catalogue_of(
        able, unknown, make_endpoint("unable", capabilities={"tools": False})
    )

    plan = make_plan(
        make_request("unknown/large", dialect=Dialect.OPENAI, needs=TOOLS), make_inputs(catalogue)
    )

    assert ids(plan) == ["unknown/large"]
    with pytest.raises(NoEndpointError, match="tools"):
        make_plan(
            make_request("unable/large", dialect=Dialect.OPENAI, needs=TOOLS),
            make_inputs(catalogue),
        )


@pytest.mark.parametrize(
    ("fields", "serves"),
    [
        pytest.param({"modalities_in": ("text", "image")}, True, id="listed"),
        pytest.param({"modalities_in": ("text", "audio")}, False, id="not-in-a-list-that-knows"),
        pytest.param({"capabilities": {"vision": True}}, True, id="capability"),
        pytest.param(
            {"modalities_in": ("text", "image"), "capabilities": {"vision": False}},
            False,
            id="capability-beats-list",
        ),
        pytest.param({}, True, id="nothing-known"),
    ],
)
def test_images_need_an_endpoint_that_sees(fields: dict[str, Any], serves: bool) -> None:
    endpoint = make_endpoint("other", **fields)

    if serves:
        assert ids(plan_of(endpoint, needs=frozenset({"vision"})))
    else:
        with pytest.raises(NoEndpointError, match="modality"):
            plan_of(endpoint, needs=frozenset({"vision"}))


@pytest.mark.parametrize(
    ("parameters", "capabilities", "serves"),
    [
        pytest.param({"temperature"}, {"temperature": True}, True, id="known"),
        pytest.param({"temperature"}, {}, False, id="unknown"),
        pytest.param({"seed", "temperature"}, {"temperature": True}, False, id="one-unknown"),
        pytest.param({"max_tokens", "user", "stream"}, {}, True, id="asks-nothing"),
        pytest.param({"reasoning_effort"}, {"reasoning": True}, True, id="another-name"),
    ],
)
def test_required_parameters_must_be_known(
    parameters: set[str], capabilities: dict[str, bool], serves: bool
) -> None:
    endpoint = make_endpoint("other", capabilities=capabilities)
    wishes: dict[str, Any] = {
        "parameters": frozenset(parameters),
        "require_parameters": True,
    }

    if serves:
        assert ids(plan_of(endpoint, **wishes))
    else:
        with pytest.raises(NoEndpointError, match="require_parameters"):
            plan_of(endpoint, **wishes)


def test_required_parameters_make_needs_strict_even_without_a_known_ability() -> None:
    with pytest.raises(NoEndpointError, match="json_mode unknown"):
        plan_of(make_endpoint("other"), needs=frozenset({"json_mode"}), require_parameters=True)


def test_a_schema_implies_json_mode() -> None:
    endpoint = make_endpoint("other", capabilities={"structured_outputs": True})

    assert ids(plan_of(endpoint, needs=frozenset({"json_mode"}), require_parameters=True))


def test_resting_and_refused_endpoints_stay_out_while_another_may_serve() -> None:
    plan = plan_of(
        KEEPER,
        make_endpoint("rests"),
        make_endpoint("refused"),
        make_endpoint("rested"),
        health={
            "rests/large": EndpointHealth(cooling_until_ms=NOW_MS + 2500),
            "refused/large": EndpointHealth(is_credential_refused=True),
            "rested/large": EndpointHealth(cooling_until_ms=NOW_MS),
        },
    )

    assert sorted(ids(plan)) == ["keeper/large", "rested/large"]
    assert reasons(plan) == {"rests/large": "cooling_down", "refused/large": "credential"}
    assert "for 2.5 s" in {exclusion.detail for exclusion in plan.exclusions}


def test_when_all_rest_the_one_that_rests_the_shortest_is_tried_alone() -> None:
    plan = plan_of(
        make_endpoint("long", price="1"),
        make_endpoint("short", price="9"),
        health={
            "long/large": EndpointHealth(cooling_until_ms=NOW_MS + 9000),
            "short/large": EndpointHealth(cooling_until_ms=NOW_MS + 1000),
        },
    )

    assert ids(plan) == ["short/large"]
    assert plan.candidates[0].cooling_until_ms == NOW_MS + 1000
    assert plan.candidates[0].probability == 1.0
    assert reasons(plan) == {"long/large": "cooling_down"}


def test_only_a_refused_credential_left_is_503_not_404() -> None:
    with pytest.raises(NoEndpointError, match="renew") as caught:
        plan_of(KEEPER, health={"keeper/large": EndpointHealth(is_credential_refused=True)})

    assert caught.value.status == 503


def test_a_refusal_counts_reasons_and_says_what_would_help() -> None:
    with pytest.raises(NoEndpointError) as caught:
        plan_of(
            make_endpoint("one", price="5"),
            make_endpoint("two", price="6"),
            make_endpoint("three"),
            max_price={"prompt_usd_per_mtok": "2"},
            ignore=("three",),
        )

    error = caught.value
    assert error.status == 404
    assert error.metadata["excluded_by"] == {"max_price": 2, "ignore": 1}
    assert {"endpoint": "one/large", "reason": "max_price", "detail": "prompt 5 > 2"} in (
        error.metadata["excluded"]
    )
    assert "`acme/large`" in error.message
    assert "raise `provider.max_price`" in error.message


def test_a_model_that_the_operator_switched_off_is_told_as_such() -> None:
    with pytest.raises(NoEndpointError, match="switched off by the operator") as caught:
        plan_of(make_endpoint("one", disabled_from=AT))

    assert caught.value.status == 404
    assert "have the operator switch the endpoint on again" in caught.value.message


def test_every_reason_has_a_remedy() -> None:
    assert set(REMEDIES) == set(ExclusionReason)


def test_a_web_search_is_a_wish_where_nobody_is_known_to_search() -> None:
    search = frozenset({"web_search"})
    searches = make_endpoint("searches", capabilities={"web_search": True})
    cannot = make_endpoint("cannot", capabilities={"web_search": False})
    unknown = make_endpoint("unknown")

    assert ids(plan_of(searches, cannot, unknown, needs=search)) == ["searches/large"]
    assert sorted(ids(plan_of(cannot, unknown, needs=search))) == ["cannot/large", "unknown/large"]
    with pytest.raises(NoEndpointError):
        plan_of(cannot, unknown, needs=search, require_parameters=True)
