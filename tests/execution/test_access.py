"""How an endpoint is reached, and that nothing printed of it shows the credential."""

import httpx
import msgspec
import pytest

from gateway.execution.access import AccessBook, ProviderAccess
from gateway.execution.deadlines import Deadlines
from gateway.providers.base import Quirks
from gateway.providers.registry import adapter_for
from tests.routing.factories import make_endpoint

SECRET = "sk-very-secret-0123456789"


def make_provider(
    provider: str = "alpha", base_url: str = "https://api.example.com/v1"
) -> ProviderAccess:
    return ProviderAccess(
        id=provider,
        base_url=base_url,
        adapter=adapter_for("openai"),
        quirks=Quirks(),
        transport=httpx.MockTransport(lambda _: httpx.Response(200)),
        secret=SECRET,
        deadlines=Deadlines(idle_s=7),
    )


def test_an_endpoint_is_reached_as_its_provider_is() -> None:
    book = AccessBook({"alpha": make_provider(base_url="https://api.example.com:8443/v1/")})
    access = book(make_endpoint("alpha"))

    assert access.target.base_url == "https://api.example.com:8443/v1"
    assert access.origin == ("https", "api.example.com", 8443)
    assert (access.secret, access.deadlines.idle_s) == (SECRET, 7)


def test_access_is_made_once_for_each_endpoint() -> None:
    book = AccessBook({"alpha": make_provider()})
    one, two = make_endpoint("alpha"), make_endpoint("alpha", "acme/small")

    assert book(one) is book(one)
    assert book(one) is not book(two)


def test_an_endpoint_that_changed_under_its_id_is_reached_as_it_is_now() -> None:
    book = AccessBook({"alpha": make_provider()})
    old = make_endpoint("alpha")
    new = msgspec.structs.replace(old, context_tokens=1)
    book(old)

    assert book(new).target.endpoint is new


def test_an_endpoint_of_a_provider_that_is_not_enabled_has_no_access() -> None:
    with pytest.raises(KeyError):
        AccessBook({"alpha": make_provider()})(make_endpoint("beta"))


def test_printing_shows_no_credential() -> None:
    provider = make_provider()
    access = AccessBook({"alpha": provider})(make_endpoint("alpha"))

    assert SECRET not in f"{provider!r} {provider} {access!r} {access}"
