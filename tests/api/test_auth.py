"""Who is let in: the three ways to carry a key, and what every other way is answered with."""

import base64
import time
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gateway.api.auth import KEYS_STALE_AFTER_S, authenticate, carried_key
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.caller import Caller
from gateway.domain.errors import AuthenticationError, OverloadedError
from gateway.domain.keys import digest_key, make_key
from gateway.snapshot.snapshot import Snapshot
from tests.routing.factories import make_catalogue_of

PEPPER = b"pepper"
NOW_S = 1_800_000_000.0
KEY = make_key(lambda count: b"a" * count).text
OTHER = make_key(lambda count: b"b" * count).text


def snapshot_with(**fields: object) -> Snapshot:
    caller = Caller(key_id=uuid.UUID(int=1), kid=KEY[5:13], name="tests")
    return Snapshot(
        catalogue=make_catalogue_of(),
        callers={digest_key(KEY, PEPPER): msgspec.structs.replace(caller, **fields)},
        confirmed_at_s=NOW_S,
    )


def let_in(headers: dict[str, str], snapshot: Snapshot | None = None) -> Caller:
    return authenticate(headers, snapshot or snapshot_with(), PEPPER, now_s=NOW_S)


def basic(text: bytes | str) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"authorization": "Basic " + base64.b64encode(raw).decode()}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}  "},
        {"authorization": f"BEARER {KEY}"},
        {"x-api-key": KEY},
        {"x-api-key": f" {KEY} "},
        basic(f"anything:{KEY}"),
        basic(f":{KEY}"),
        basic(f"größe:{KEY}"),
        {"authorization": f"Bearer {KEY}", "x-api-key": KEY},
        basic(f"me:{KEY}") | {"x-api-key": KEY},
    ],
)
def test_a_key_is_found_in_each_of_its_places(headers: dict[str, str]) -> None:
    assert let_in(headers).name == "tests"


def test_a_password_may_hold_colons() -> None:
    assert carried_key(basic("user:part:of:key")) == "part:of:key"


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"x-api-key": "  "}])
def test_without_a_key_the_remedy_is_named(headers: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match="Authorization: Bearer KEY") as caught:
        let_in(headers)
    assert caught.value.code == "missing_api_key"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer"},
        {"authorization": KEY},
        {"authorization": f"Digest {KEY}"},
        {"authorization": f"Token {KEY}"},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": f"Basic {KEY}"},
        basic(KEY),
        basic("user:"),
        basic(b"\xff\xfe:" + KEY.encode()),
        {"authorization": f"Bearer {OTHER}"},
        {"authorization": "Bearer sk-something-else"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Bearer {KEY[:-1]}"},
        {"authorization": f"Bearer {KEY} {KEY}"},
        {"x-api-key": "x" * 20_000},
        {"x-api-key": "'; DROP TABLE api_key; --"},
        {"x-api-key": "tw_l_\x00"},
        {"x-api-key": "clé"},
    ],
)
def test_anything_else_is_a_401_that_shows_nothing_of_the_key(headers: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError) as caught:
        let_in(headers)

    status, rendered, body = render_error(caught.value, Dialect.OPENAI)
    assert status == 401
    assert dict(rendered)["WWW-Authenticate"].startswith("Bearer")
    assert "Basic" in dict(rendered)["WWW-Authenticate"]
    assert KEY[14:].encode() not in body
    assert OTHER[14:].encode() not in body


def test_two_different_keys_are_refused_even_when_one_is_good() -> None:
    with pytest.raises(AuthenticationError, match="two different"):
        let_in({"authorization": f"Bearer {KEY}", "x-api-key": OTHER})


@pytest.mark.parametrize(("seconds", "is_let_in"), [(1, True), (0, False), (-60, False)])
def test_a_key_works_up_to_its_expiry_and_not_at_it(seconds: float, is_let_in: bool) -> None:
    expires_at = datetime.fromtimestamp(NOW_S, UTC) + timedelta(seconds=seconds)
    snapshot = snapshot_with(expires_at=expires_at)
    if is_let_in:
        assert let_in({"x-api-key": KEY}, snapshot)
        return
    with pytest.raises(AuthenticationError, match="the API key is not valid"):
        let_in({"x-api-key": KEY}, snapshot)


def test_unknown_and_expired_keys_are_told_apart_by_nobody() -> None:
    words: set[str] = set()
    expired = snapshot_with(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    for key, snapshot in ((KEY, expired), (OTHER, snapshot_with()), ("nonsense", snapshot_with())):
        with pytest.raises(AuthenticationError) as caught:
            let_in({"x-api-key": key}, snapshot)
        words.add(f"{caught.value.message} {caught.value.code}")

    assert len(words) == 1


def test_another_pepper_knows_no_key() -> None:
    with pytest.raises(AuthenticationError):
        authenticate({"x-api-key": KEY}, snapshot_with(), b"other", now_s=NOW_S)


def test_keys_work_for_a_quarter_of_an_hour_without_the_database() -> None:
    kept = msgspec.structs.replace(snapshot_with(), confirmed_at_s=NOW_S - KEYS_STALE_AFTER_S)
    stale = msgspec.structs.replace(kept, confirmed_at_s=NOW_S - KEYS_STALE_AFTER_S - 1)

    assert let_in({"x-api-key": KEY}, kept)
    with pytest.raises(OverloadedError) as caught:
        let_in({"x-api-key": KEY}, stale)
    assert (caught.value.status, caught.value.code) == (503, "keys_unconfirmed")


def test_before_keys_were_ever_loaded_nobody_is_told_that_their_key_is_wrong() -> None:
    empty = Snapshot(catalogue=make_catalogue_of())
    with pytest.raises(OverloadedError):
        let_in({"x-api-key": KEY}, empty)


def test_what_cannot_be_a_key_is_refused_even_then() -> None:
    with pytest.raises(AuthenticationError):
        let_in({"x-api-key": "nonsense"}, Snapshot(catalogue=make_catalogue_of()))


def test_thousands_of_wrong_keys_are_refused_at_once() -> None:
    began_s = time.perf_counter()
    for number in range(2_000):
        with pytest.raises(AuthenticationError):
            let_in({"x-api-key": f"tw_l_{number:08}_{'x' * 38}"})

    assert time.perf_counter() - began_s < 5
