"""The error tree: statuses of the published APIs, and what a raise may change."""

import pytest

from gateway.domain import errors
from gateway.domain.errors import GatewayError

STATUSES = {
    "InvalidRequestError": 400,
    "AuthenticationError": 401,
    "BudgetExceededError": 402,
    "PermissionDeniedError": 403,
    "ModelNotFoundError": 404,
    "NoEndpointError": 404,
    "PayloadTooLargeError": 413,
    "UnsupportedMediaTypeError": 415,
    "RateLimitedError": 429,
    "InternalError": 500,
    "UpstreamError": 502,
    "OverloadedError": 503,
    "UpstreamTimeoutError": 504,
}


def classes() -> dict[str, type[GatewayError]]:
    return {
        name: found
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, GatewayError) and found is not GatewayError
    }


def test_every_class_has_its_status() -> None:
    assert {name: found.status for name, found in classes().items()} == STATUSES


@pytest.mark.parametrize("name", STATUSES)
def test_the_tree_is_described_where_it_is_defined(name: str) -> None:
    assert name in (errors.__doc__ or "")


@pytest.mark.parametrize("name", STATUSES)
def test_a_raise_may_change_what_the_class_says_and_nothing_of_the_class(name: str) -> None:
    made = classes()[name]("words", status=418, kind="teapot", code="short", param="spout")

    assert (made.status, made.kind, made.code, made.param) == (418, "teapot", "short", "spout")
    assert classes()[name].status == STATUSES[name]
    assert str(made) == made.message == "words"


def test_facts_of_one_error_are_not_anothers() -> None:
    one, two = GatewayError("one"), GatewayError("two")
    one.metadata["x"] = 1

    assert two.metadata == {}
