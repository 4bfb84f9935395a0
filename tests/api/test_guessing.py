"""Wrong keys: too many from a network are not tried any more, and right ones go on working."""

import time
import uuid

import pytest

from gateway.api.auth import authenticate
from gateway.api.guessing import MOST_WRONG, WITHIN_S, Guesses, network_of
from gateway.domain.caller import Caller
from gateway.domain.errors import AuthenticationError, GatewayError, RateLimitedError
from gateway.domain.keys import digest_key, make_key
from gateway.domain.peers import peer
from gateway.snapshot.snapshot import Snapshot
from tests.routing.factories import make_catalogue_of

PEPPER = b"pepper"


class Door:
    """Callers at some address, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.guesses = Guesses(clock=lambda: self.now_s)
        self.keys = [make_key(lambda count, n=n: bytes([n]) * count).text for n in range(3)]
        self.known = set(self.keys[:2])

    def knock(self, key: str, address: str = "203.0.113.7") -> GatewayError | None:
        callers = {
            digest_key(one, PEPPER): Caller(key_id=uuid.uuid4(), kid=one[5:13], name="k")
            for one in self.known
        }
        snapshot = Snapshot(
            catalogue=make_catalogue_of(), callers=callers, confirmed_at_s=time.time()
        )
        token = peer.set(address)
        try:
            authenticate(
                {"authorization": f"Bearer {key}"},
                snapshot,
                PEPPER,
                now_s=time.time(),
                guesses=self.guesses,
            )
        except GatewayError as exc:
            return exc
        finally:
            peer.reset(token)
        return None

    def guess(self, count: int) -> None:
        for _ in range(count):
            assert isinstance(self.knock("tw_l_wrong"), AuthenticationError)


@pytest.fixture
def door() -> Door:
    return Door()


def test_after_twenty_wrong_keys_a_network_has_to_wait(door: Door) -> None:
    door.guess(MOST_WRONG)

    for address in ("203.0.113.7", "203.0.113.200", "::ffff:203.0.113.9"):
        refused = door.knock("tw_l_wrong", address)
        assert isinstance(refused, RateLimitedError)
        assert refused.retry_after_s == WITHIN_S
    assert isinstance(door.knock("tw_l_wrong", "203.0.114.7"), AuthenticationError)
    door.now_s += WITHIN_S
    assert isinstance(door.knock("tw_l_wrong"), AuthenticationError)


def test_a_key_that_has_worked_goes_on_working_and_a_new_one_waits(door: Door) -> None:
    assert door.knock(door.keys[0]) is None
    door.guess(MOST_WRONG)

    assert door.knock(door.keys[0]) is None
    assert isinstance(door.knock(door.keys[1]), RateLimitedError)
    assert door.knock(door.keys[1], "198.51.100.1") is None


def test_a_key_that_works_no_more_waits_like_any_other(door: Door) -> None:
    assert door.knock(door.keys[0]) is None
    door.known.clear()
    for _ in range(MOST_WRONG):
        assert isinstance(door.knock(door.keys[0]), AuthenticationError)

    assert isinstance(door.knock(door.keys[0]), RateLimitedError)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("::ffff:192.0.2.1", "192.0.2.0/24"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_an_address_is_counted_with_its_network(address: str, network: str) -> None:
    assert network_of(address) == network
