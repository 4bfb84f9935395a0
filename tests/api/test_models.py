"""What a key is shown of the models, in OpenAI's list shape."""

from datetime import date
from typing import Any

import pytest

from gateway.api.listing import list_models
from tests.routing.factories import AT, make_caller, make_catalogue_of, make_endpoint

CATALOGUE = make_catalogue_of(
    make_endpoint("beta", "acme/large", context_tokens=200_000, release_date=date(2026, 3, 2)),
    make_endpoint("alpha", "acme/large", context_tokens=128_000, release_date=date(2026, 3, 1)),
    make_endpoint("alpha", "acme/small"),
    make_endpoint("gamma", "other/embedder", mode="embedding"),
    make_endpoint("gamma", "other/chatter"),
    make_endpoint("gamma", None, "nameless-7b"),
)


def shown(**fields: Any) -> list[str]:
    return [model.id for model in list_models(CATALOGUE, make_caller(**fields), AT).data]


def test_every_chat_model_is_listed_once_by_name() -> None:
    assert shown() == ["acme/large", "acme/small", "gamma/nameless-7b", "other/chatter"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"allowed_models": ("acme/*",)}, ["acme/large", "acme/small"]),
        ({"allowed_models": ("acme/small", "other/chatter")}, ["acme/small", "other/chatter"]),
        ({"allowed_providers": ("gamma",)}, ["gamma/nameless-7b", "other/chatter"]),
        ({"allowed_providers": ("beta",), "allowed_models": ("acme/*",)}, ["acme/large"]),
        ({"allowed_models": ("nobody/*",)}, []),
    ],
)
def test_a_key_sees_only_what_it_may_use(fields: dict[str, Any], expected: list[str]) -> None:
    assert shown(**fields) == expected


def test_a_model_tells_of_all_its_endpoints_together() -> None:
    large = list_models(CATALOGUE, make_caller(), AT).data[0]

    assert (large.object, large.owned_by) == ("model", "acme")
    assert large.providers == ("alpha", "beta")
    assert large.context_length == 200_000
    assert large.created == 1_772_323_200, "the earliest release, 2026-03-01 in UTC"


def test_what_is_not_known_of_a_model_is_said_to_be_so() -> None:
    small = list_models(CATALOGUE, make_caller(), AT).data[1]

    assert (small.context_length, small.created) == (None, 0)


def test_of_a_model_only_the_allowed_providers_are_named() -> None:
    (large,) = list_models(
        CATALOGUE, make_caller(allowed_providers=("beta",), allowed_models=("acme/large",)), AT
    ).data

    assert large.providers == ("beta",)
