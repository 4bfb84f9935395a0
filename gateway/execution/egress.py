"""Keeps requests away from addresses off the public internet, unless an operator allowed them.

The guard is asked with the final address, after name resolution and also for literal addresses, at
the moment the socket is made. A name that changes its address between check and connection (DNS
rebinding) therefore gains nothing.
"""

import socket
from collections.abc import Callable, Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx
import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""One answer of ``getaddrinfo``: family, type, protocol, canonical name, address."""
SocketFactory = Callable[[AddressInfo], socket.socket]

DEFAULT_PORTS = {"http": 80, "https": 443}


class AddressRefusedError(OSError):
    """The address may not be reached.

    An ``OSError``, because that is what the connecting code collects while it tries one address
    after the other. The text is the same for every address: it tells an outsider nothing about
    the inside, and several refusals stay one refusal when they are put together.
    """

    def __init__(self) -> None:
        super().__init__("the address is private or reserved and not allowed for this origin")


class EgressPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which non-public addresses may be reached.

    ``allowed_origins`` are (host, port) pairs that may resolve to private and loopback addresses;
    ``allowed_networks`` may be reached under any name. Neither opens a cloud's metadata service.
    """

    allowed_origins: frozenset[tuple[str, int]] = frozenset()
    allowed_networks: tuple[Network, ...] = ()

    def allows_private(self, host: str, port: int) -> bool:
        """Whether this origin may be on a private address; the host as ``httpx.URL`` has it."""
        return (host, port) in self.allowed_origins

    def allows(self, address: str, *, is_allowed_origin: bool) -> bool:
        """Whether a socket may be connected to a numeric address.

        ``is_allowed_origin`` is what ``allows_private`` said of the origin it was resolved from.
        """
        ip = ip_address(address.partition("%")[0])
        if _is_metadata_service(ip):
            return False
        if any(ip in network for network in self.allowed_networks):
            return True
        return _is_public(ip) or (is_allowed_origin and _is_in(ip, _PRIVATE))


def make_policy(
    allowed_base_urls: Iterable[str] = (), allowed_networks: Iterable[str] = ()
) -> EgressPolicy:
    """The policy for base URLs whose address may be private, and for networks in CIDR notation.

    Raises ``ValueError`` for a network that is none and ``httpx.InvalidURL`` for a malformed URL.
    """
    return EgressPolicy(
        allowed_origins=frozenset(origin_of(httpx.URL(url)) for url in allowed_base_urls),
        allowed_networks=tuple(ip_network(network) for network in allowed_networks),
    )


def origin_of(url: httpx.URL) -> tuple[str, int]:
    """Host and port that a request to this URL connects to, by the parser that also sends it."""
    return url.raw_host.decode("ascii"), url.port or DEFAULT_PORTS.get(url.scheme, 0)


def guarded_socket(
    policy: EgressPolicy, target: AddressInfo, *, is_allowed_origin: bool
) -> socket.socket:
    """An unconnected TCP socket for an address the policy allows; else ``AddressRefusedError``."""
    family, address = target[0], target[4]
    if family not in (socket.AF_INET, socket.AF_INET6) or not policy.allows(
        str(address[0]), is_allowed_origin=is_allowed_origin
    ):
        raise AddressRefusedError
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A model may think for minutes without a byte; keep-alive probes tell that from a dead path.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def _networks(*networks: str) -> tuple[Network, ...]:
    return tuple(ip_network(network) for network in networks)


# https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry.
# Written out because what `ipaddress` calls global differs between Python versions.
_PRIVATE = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
    "::1/128", "fc00::/7",
)  # fmt: skip
_RESERVED = _networks(
    "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
_GLOBAL_UNICAST_V6 = ip_network("2000::/3")
# Teredo is in 2001::/23, 6to4 is 2002::/16: both carry an IPv4 address inside.
# IPv4-mapped addresses and NAT64 (64:ff9b::/96) lie outside 2000::/3.
_RESERVED_V6 = _networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
# AWS and most others, ECS tasks, Azure's wire server, Alibaba, Oracle; AWS and Google over IPv6.
_METADATA_SERVICES = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
        "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
    )
)  # fmt: skip
_NAT64 = ip_network("64:ff9b::/96")


def _is_in(ip: Address, networks: Iterable[Network]) -> bool:
    return any(ip in network for network in networks)


def _is_public(ip: Address) -> bool:
    if isinstance(ip, IPv4Address):
        return not _is_in(ip, _PRIVATE) and not _is_in(ip, _RESERVED)
    return ip in _GLOBAL_UNICAST_V6 and not _is_in(ip, _RESERVED_V6)


def _is_metadata_service(ip: Address) -> bool:
    embedded = _embedded_ipv4(ip) if isinstance(ip, IPv6Address) else None
    return ip in _METADATA_SERVICES or embedded in _METADATA_SERVICES


def _embedded_ipv4(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour
