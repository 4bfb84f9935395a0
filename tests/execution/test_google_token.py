"""A service account's tokens: fetched once for all who wait, early, and told to nobody."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from gateway.domain.outcomes import Outcome
from gateway.execution.google_token import SCOPE, GoogleTokens, ServiceAccount
from gateway.providers.base import FaultError

pytestmark = pytest.mark.anyio

KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
ACCOUNT = ServiceAccount(
    client_email="robot@tolls.iam.gserviceaccount.com",
    private_key=PEM,
    private_key_id="k1",
    token_uri="https://oauth2.googleapis.com/token",
)


def numbered(count: int) -> str:
    return f"ya29.token-number-{count}"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


class TokenService:
    """Gives out numbered tokens, or what it is told to answer."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answers: list[httpx.Response | Exception] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await self.may_answer.wait()
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        answer = {"access_token": numbered(len(self.requests)), "expires_in": 3599}
        return httpx.Response(200, json=answer)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service() -> TokenService:
    return TokenService()


@pytest.fixture
def tokens(clock: Clock, service: TokenService) -> GoogleTokens:
    return GoogleTokens(ACCOUNT, httpx.MockTransport(service), now=clock)


async def failure(ask: Callable[[], Awaitable[str]]) -> FaultError:
    with pytest.raises(FaultError) as caught:
        await ask()
    return caught.value


async def settle() -> None:
    """Let what runs in the background come to its end."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_assertion_is_signed_and_says_who_asks_for_what(
    tokens: GoogleTokens, service: TokenService, clock: Clock
) -> None:
    assert await tokens() == numbered(1)

    (request,) = service.requests
    form = parse_qs(request.content.decode())
    assert str(request.url) == ACCOUNT.token_uri
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    (assertion,) = form["assertion"]
    claims = jwt.decode(
        assertion,
        KEY.public_key(),
        algorithms=["RS256"],
        audience=ACCOUNT.token_uri,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["iss"] == ACCOUNT.client_email
    assert claims["scope"] == SCOPE
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["iat"] == clock.now_s
    assert jwt.get_unverified_header(assertion)["kid"] == "k1"


async def test_a_token_serves_until_minutes_before_its_end(
    tokens: GoogleTokens, service: TokenService, clock: Clock
) -> None:
    first = await tokens()
    clock.now_s += 3000

    assert await tokens() == first
    assert len(service.requests) == 1


async def test_the_next_token_is_fetched_early_and_nobody_waits_for_it(
    tokens: GoogleTokens, service: TokenService, clock: Clock
) -> None:
    first = await tokens()
    clock.now_s += 3400
    service.may_answer.clear()

    assert await tokens() == first
    service.may_answer.set()
    await settle()

    assert await tokens() == numbered(2)
    assert len(service.requests) == 2


async def test_many_who_wait_are_served_by_one_fetch(
    tokens: GoogleTokens, service: TokenService
) -> None:
    found = await asyncio.gather(*(tokens() for _ in range(50)))

    assert set(found) == {numbered(1)}
    assert len(service.requests) == 1


async def test_who_hangs_up_does_not_take_the_token_from_the_others(
    tokens: GoogleTokens, service: TokenService
) -> None:
    service.may_answer.clear()
    leaving = asyncio.create_task(tokens())
    staying = asyncio.create_task(tokens())
    await settle()

    leaving.cancel()
    await settle()
    service.may_answer.set()

    assert await staying == numbered(1)
    assert len(service.requests) == 1


async def test_a_refused_service_account_is_a_refused_credential(
    tokens: GoogleTokens, service: TokenService
) -> None:
    refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    service.answers.append(httpx.Response(400, json=refusal))

    error = await failure(tokens)

    assert error.fault.outcome is Outcome.AUTH_FAILED
    assert error.fault.code == "invalid_grant"
    assert "Invalid JWT Signature" in error.fault.message


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.ConnectError("no"), id="unreachable"),
        pytest.param(httpx.Response(503), id="busy"),
        pytest.param(httpx.Response(200, content=b"<html>"), id="a-page"),
        pytest.param(httpx.Response(200, json={"token_type": "Bearer"}), id="no-token"),
        pytest.param(RuntimeError("a bug"), id="a-bug"),
    ],
)
async def test_a_token_service_in_trouble_is_no_fault_of_the_credential(
    tokens: GoogleTokens, service: TokenService, clock: Clock, answer: httpx.Response | Exception
) -> None:
    service.answers.append(answer)

    error = await failure(tokens)
    clock.now_s += 10

    assert error.fault.outcome is Outcome.CONNECT_ERROR
    assert await tokens() == numbered(2)


async def test_after_a_failure_the_service_is_left_alone_for_a_while(
    tokens: GoogleTokens, service: TokenService, clock: Clock
) -> None:
    service.answers.append(httpx.Response(503))

    await failure(tokens)
    await failure(tokens)
    assert len(service.requests) == 1

    clock.now_s += 6
    assert await tokens() == numbered(2)


async def test_an_old_token_serves_while_the_next_cannot_be_had(
    tokens: GoogleTokens, service: TokenService, clock: Clock
) -> None:
    first = await tokens()
    clock.now_s += 3400
    service.answers.append(httpx.Response(503))

    assert await tokens() == first
    await settle()

    assert await tokens() == first


async def test_neither_key_nor_token_is_shown(tokens: GoogleTokens, service: TokenService) -> None:
    token = await tokens()
    refusal = {"error": "invalid_grant", "error_description": f"bad {token}"}
    service.answers.append(httpx.Response(400, json=refusal))
    other = GoogleTokens(ACCOUNT, httpx.MockTransport(service), now=Clock())

    error = await failure(other)

    shown = f"{tokens!r} {ACCOUNT!r} {error} {error.fault!r} {vars(error)}"
    assert token not in shown
    assert "PRIVATE KEY" not in shown
    assert ACCOUNT.client_email not in shown


@pytest.mark.parametrize("key", ["", "not a key", PEM.replace("A", "B"), "-----BEGIN KEY-----"])
def test_a_key_that_cannot_be_read_is_refused_without_showing_it(key: str) -> None:
    account = ServiceAccount(client_email="a@b.c", private_key=key)

    with pytest.raises(ValueError, match="cannot be read") as caught:
        GoogleTokens(account, httpx.MockTransport(lambda _: httpx.Response(200)))

    assert caught.value.__cause__ is None
    assert json.dumps(str(caught.value)).find("BEGIN") == -1


async def test_closing_ends_a_fetch_that_is_under_way(
    tokens: GoogleTokens, service: TokenService
) -> None:
    service.may_answer.clear()
    waiting = asyncio.create_task(failure(tokens))
    await settle()

    await tokens.aclose()

    assert (await waiting).fault.outcome is Outcome.CONNECT_ERROR
