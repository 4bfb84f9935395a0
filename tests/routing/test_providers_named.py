"""Providers named in ``only``, ``order`` and ``ignore``, and tiers of service."""

import json
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.domain.errors import InvalidRequestError, NoEndpointError
from gateway.routing.engine import make_plan
from gateway.routing.plan import Plan
from pricing.catalogue import load_catalogue
from pricing.price import Change, ServiceTier
from tests.routing.factories import (
    ids,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_request,
    reasons,
)

CATALOGUE = make_catalogue_of(
    make_endpoint("openai", price="2", service_tiers=("flex",)),
    make_endpoint("deepinfra/turbo", price="1"),
    make_endpoint("openai", "acme/small", price="1"),
)


def plan_of(*models: str, **wishes: Any) -> Plan:
    return make_plan(make_request(*models, **wishes), make_inputs(CATALOGUE))


@pytest.mark.parametrize("member", ["only", "order", "ignore"])
def test_an_unheard_of_provider_is_refused_with_the_nearest(member: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        plan_of(**{member: ("openai", "opnai")})

    error = caught.value
    assert error.param == f"provider.{member}.1"
    assert "did you mean `openai`" in error.message
    assert error.metadata["nearest"] == ["openai"]


@pytest.mark.parametrize("member", ["only", "order", "ignore"])
def test_a_flat_member_is_named_as_it_was_sent(member: str) -> None:
    body = {
        "model": "acme/large",
        "messages": [{"role": "user", "content": "x"}],
        f"provider_{member}": ["opnai"],
    }
    request = decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENROUTER)

    with pytest.raises(InvalidRequestError) as caught:
        make_plan(request, make_inputs(CATALOGUE))

    assert caught.value.param == f"provider_{member}.0"
    assert f"`provider_{member}.0`" in caught.value.message


def test_a_flat_contradiction_is_named_as_it_was_sent() -> None:
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "provider": {"only": ["openai"]},
        "provider_ignore": ["openai"],
    }

    with pytest.raises(InvalidRequestError, match=r"`provider\.only` and in `provider_ignore`"):
        decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENROUTER)


@pytest.mark.parametrize(
    ("sent", "end"),
    [({"ordr": []}, "`order`?"), ({"zzzz": 1}, "."), ({"max_price": {"promt": 1}}, "`prompt`?")],
)
def test_what_is_said_of_an_unknown_preference_ends_once(sent: dict[str, Any], end: str) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "provider": sent}

    with pytest.raises(InvalidRequestError) as caught:
        decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENROUTER)

    assert caught.value.message.endswith(end)
    assert not caught.value.message.endswith("?.")


@pytest.mark.parametrize("slug", ["openai", "deepinfra", "deepinfra/turbo", "openai/fp8", "nobody"])
def test_a_provider_that_exists_may_be_named_enabled_or_not(slug: str) -> None:
    assert plan_of(order=(slug,)).candidates


def test_providers_that_are_not_enabled_stay_known() -> None:
    catalogue = load_catalogue().restricted_to(["openai"]).with_endpoints()

    assert {"openai", "anthropic", "groq"} <= catalogue.known_providers
    assert set(catalogue.providers) == {"openai"}


def test_a_pin_to_nothing_is_an_error_and_never_no_pin() -> None:
    with pytest.raises(NoEndpointError) as caught:
        plan_of(only=("nobody",))

    assert caught.value.metadata["excluded_by"] == {"only": 2}


@pytest.mark.parametrize("member", ["only", "order"])
def test_one_provider_wanted_and_ignored_is_a_contradiction(member: str) -> None:
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "provider": {member: ["OpenAI"], "ignore": ["openai"]},
    }

    with pytest.raises(InvalidRequestError) as caught:
        decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENROUTER)

    assert caught.value.code == "contradictory_preferences"


def test_a_service_tier_is_never_silently_another_one() -> None:
    plan = plan_of("acme/large", "acme/small", service_tier="flex")

    assert ids(plan) == ["openai/large"]
    assert reasons(plan) == {
        "deepinfra/turbo/large": "service_tier",
        "openai/small": "service_tier",
    }


def test_a_tier_may_be_known_by_its_price_alone() -> None:
    plain = make_endpoint("a")
    tiers = {"priority": ServiceTier(change=Change(scale=None))}
    version = make_endpoint("b").prices[0]
    tiered = make_endpoint("b", price=type(version)(id="v", base=version.base, service_tiers=tiers))

    plan = make_plan(
        make_request(service_tier="priority"), make_inputs(make_catalogue_of(plain, tiered))
    )

    assert ids(plan) == ["b/large"]


@pytest.mark.parametrize("tier", ["auto", "default", "scale"])
def test_a_tier_that_nobody_is_known_to_offer_excludes_nobody(tier: str) -> None:
    assert len(plan_of(service_tier=tier).candidates) == 2
