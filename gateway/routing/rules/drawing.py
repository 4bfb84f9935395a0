"""Draws the arm of a split and the share of a mirror, so that every draw can be made again.

What sticks is drawn by a keyed hash: nobody without the installation's secret can tell who lands
where, and no text of a session is needed to see that two requests were of one. What does not stick
is drawn by the decision's seed.
"""

import hmac
from hashlib import blake2b

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from gateway.routing.rules.values import Arm, Split, Unit

ALGORITHM = "blake2b-rule"
BUCKETS = 10_000

_TO_UNIT = 2.0**-53
_WORD = 8
_UNUSED_BITS = 11
_SEPARATOR = b"\x00"
_SALT_LABEL = b"tollway/split-salt/v1"


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Which arm a request is in, and how it came there."""

    rule: str
    arm: str
    probability: float
    """With which the arm was to be drawn."""
    unit: Unit
    """What sticks; ``request`` where the request does not carry what should have stuck."""
    key_hmac: str | None
    """Tells the unit apart without naming it; None for ``request``."""
    salt_id: str | None
    """Tells which secret the hash was keyed with; None for ``request``."""
    bucket: int
    """The draw in whole ten-thousandths."""
    draw: float
    """In [0, 1)."""


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """This request is to be sent to a second endpoint too, whose answer nobody gets."""

    rule: str
    to: str
    """An endpoint's id, or a model."""
    share: float
    """Of the requests under this rule."""
    draw: float
    """In [0, share)."""


def split_salt(pepper: bytes) -> bytes:
    """What keys the hashes of this installation: the same on every node that shares a pepper."""
    return hmac.digest(pepper, _SALT_LABEL, "sha256")


def assign(
    rule: str, split: Split, request: ChatRequest, caller: Caller, *, seed: int, salt: bytes
) -> tuple[Assignment, Arm]:
    """The arm of a request. The same unit gets the same arm for as long as the weights stand.

    Where weights change, only what the change is about moves: arms divide the line from 0 to 1 in
    their order.
    """
    value = _value(split.by, request, caller)
    unit: Unit = split.by if value else "request"
    if value:
        word = (split.salt or rule).encode()
        # Sessions and users are the key's own: two keys may well use the same names.
        parts = (b"tollway/split/v1", word, unit.encode(), caller.key_id.bytes, value.encode())
        digest = blake2b(_SEPARATOR.join(parts), key=salt[:64], digest_size=2 * _WORD).digest()
        draw, key_hmac = _unit(digest[:_WORD]), digest[_WORD:].hex()
    else:
        draw, key_hmac = draw_of(seed, "split", rule), None
    arm = _arm(split, draw)
    assignment = Assignment(
        rule=rule,
        arm=arm.name,
        probability=arm.weight / split.total,
        unit=unit,
        key_hmac=key_hmac,
        salt_id=salt_id(salt) if value else None,
        bucket=int(draw * BUCKETS),
        draw=draw,
    )
    return assignment, arm


def draw_of(seed: int, purpose: str, rule: str) -> float:
    """A number in [0, 1) of a decision's seed, apart from every other draw of the decision."""
    return _unit(blake2b(f"{seed} {purpose} {rule}".encode(), digest_size=_WORD).digest())


def salt_id(salt: bytes) -> str:
    """Tells salts apart, and nothing about them."""
    return blake2b(b"tollway/salt-id", key=salt[:64], digest_size=4).hexdigest()


def _value(unit: Unit, request: ChatRequest, caller: Caller) -> str | None:
    match unit:
        case "session":
            return request.session_id
        case "user":
            return request.user
        case "key":
            return caller.key_id.hex
        case "request":
            return None


def _unit(word: bytes) -> float:
    return (int.from_bytes(word, "little") >> _UNUSED_BITS) * _TO_UNIT


def _arm(split: Split, draw: float) -> Arm:
    place, drawn = draw * split.total, split.arms[0]
    for arm in split.arms:
        if arm.weight > 0:
            drawn = arm
            if place < arm.weight:
                break
        place -= arm.weight
    return drawn
