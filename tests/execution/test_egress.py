"""Which addresses requests may be sent to."""

import socket

import httpx
import pytest

from gateway.execution.egress import (
    AddressInfo,
    AddressRefusedError,
    EgressPolicy,
    guarded_socket,
    make_policy,
    origin_of,
)

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "192.168.255.255", "100.64.0.1", "100.127.255.255", "::1", "fc00::1",
    "fd12:3456:789a::1",
]  # fmt: skip

NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.0.1", "169.254.169.254", "169.254.170.2", "192.0.0.1",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "100.100.100.200", "168.63.129.16",
    "::", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1", "3fff::1", "100::1", "5f00::1",
]  # fmt: skip

PUBLIC = ["8.8.8.8", "1.1.1.1", "104.18.7.192", "172.32.0.1", "100.128.0.1", "2606:4700::6812:7c0"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_reachable(address: str) -> None:
    assert EgressPolicy().allows(address, is_allowed_origin=False)


@pytest.mark.parametrize("address", PRIVATE + NEVER)
def test_private_or_reserved_address_is_refused(address: str) -> None:
    assert not EgressPolicy().allows(address, is_allowed_origin=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_allowed_origin_may_be_on_a_private_address(address: str) -> None:
    assert EgressPolicy().allows(address, is_allowed_origin=True)


@pytest.mark.parametrize("address", NEVER)
def test_allowed_origin_may_not_be_on_a_reserved_address(address: str) -> None:
    assert not EgressPolicy().allows(address, is_allowed_origin=True)


def test_allowed_network_is_reachable_under_any_name() -> None:
    policy = make_policy(allowed_networks=["10.1.2.0/24", "fd12::/16"])

    assert policy.allows("10.1.2.3", is_allowed_origin=False)
    assert policy.allows("fd12::1", is_allowed_origin=False)
    assert not policy.allows("10.1.3.1", is_allowed_origin=False)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_metadata_service_is_refused_even_within_an_allowed_network(address: str) -> None:
    policy = make_policy(allowed_networks=["0.0.0.0/0", "::/0"])

    assert not policy.allows(address, is_allowed_origin=True)


@pytest.mark.parametrize("network", ["10.1.2.3/24", "10.0.0.0/33", "everything"])
def test_wrong_network_is_an_error(network: str) -> None:
    with pytest.raises(ValueError, match=network):
        make_policy(allowed_networks=[network])


def test_leave_is_for_host_and_port_together() -> None:
    policy = make_policy(["http://127.0.0.1:9102/v1", "https://Models.Internal/v1"])

    assert policy.allows_private("127.0.0.1", 9102)
    assert policy.allows_private("models.internal", 443)
    assert not policy.allows_private("127.0.0.1", 9103)
    assert not policy.allows_private("localhost", 9102)
    assert not policy.allows_private("models.internal", 80)
    assert not policy.allows_private("models.internal.", 443)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.openai.com/v1", ("api.openai.com", 443)),
        ("http://LOCALHOST:8000", ("localhost", 8000)),
        ("https://user:secret@[::1]/", ("::1", 443)),
        ("https://bücher.example/", ("xn--bcher-kva.example", 443)),
        ("https://evil.example\\@api.openai.com/", ("api.openai.com", 443)),
        ("https://api.openai.com#@evil.example/", ("api.openai.com", 443)),
        ("http://0177.0.0.1/", None),
        ("http://1.2.3.4.5.6.7.8:80:90/", None),
    ],
)
def test_origin_is_what_the_sender_connects_to(url: str, origin: tuple[str, int] | None) -> None:
    if origin is None:
        with pytest.raises(httpx.InvalidURL):
            origin_of(httpx.URL(url))
    else:
        assert origin_of(httpx.URL(url)) == origin


def test_socket_is_made_for_an_allowed_address_only() -> None:
    inside: AddressInfo = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    outside: AddressInfo = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1", 80, 0, 0))

    with pytest.raises(AddressRefusedError) as caught:
        guarded_socket(EgressPolicy(), inside, is_allowed_origin=False)
    made = guarded_socket(EgressPolicy(), outside, is_allowed_origin=False)

    assert "127.0.0.1" not in str(caught.value)
    assert made.family == socket.AF_INET6
    made.close()


def test_socket_of_another_kind_is_refused() -> None:
    target: AddressInfo = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 0))

    with pytest.raises(AddressRefusedError):
        guarded_socket(EgressPolicy(), target, is_allowed_origin=False)
