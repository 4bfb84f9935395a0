import re
import secrets
from collections.abc import Callable

import pytest
from rich.pretty import pretty_repr

from gateway.domain.keys import KEY_PATTERN, KeyEnvironment, digest_key, make_key, parse_key

KNOWN = "tw_l_01234567_89ABCDEFGHIJKLMNOPQRSTUVWXYZabcd1Sw6ls"


def counting(start: int = 0) -> Callable[[int], bytes]:
    """Bytes that count up from `start` instead of chance."""
    position = start

    def random(count: int) -> bytes:
        nonlocal position
        position += count
        return bytes(number % 256 for number in range(position - count, position))

    return random


def test_a_key_is_the_same_for_the_same_bytes() -> None:
    key = make_key(counting())

    assert key.text == KNOWN
    assert parse_key(KNOWN) is not None
    assert (key.environment, key.kid, key.last4) == ("l", "01234567", KNOWN[-4:])


def test_bytes_that_would_favour_some_characters_are_drawn_again() -> None:
    key = make_key(counting(244))

    assert key.kid == "wxyz0123"


@pytest.mark.parametrize("env", ["l", "t", "a"])
def test_every_made_key_parses_and_matches_the_published_pattern(env: KeyEnvironment) -> None:
    key = make_key(secrets.token_bytes, env)

    parsed = parse_key(key.text)

    assert re.fullmatch(KEY_PATTERN, key.text)
    assert parsed is not None
    assert (parsed.environment, parsed.kid, parsed.last4) == (env, key.kid, key.last4)


@pytest.mark.parametrize("position", range(len(KNOWN)))
def test_one_wrong_character_is_noticed_without_a_lookup(position: int) -> None:
    wrong = "B" if KNOWN[position] != "B" else "C"

    assert parse_key(KNOWN[:position] + wrong + KNOWN[position + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(KNOWN + "\n", id="newline"),
        pytest.param(" " + KNOWN, id="space"),
        pytest.param(KNOWN[:-1], id="short"),
        pytest.param(KNOWN.replace("0", "\u0660"), id="arabic-digit"),
        pytest.param(KNOWN.replace("0", "\ud800"), id="surrogate"),
        pytest.param("sk-proj-abc", id="another-vendor"),
        pytest.param("' OR 1=1 --", id="sql"),
    ],
)
def test_what_is_not_a_key_is_none(text: str) -> None:
    assert parse_key(text) is None


def test_the_digest_depends_on_every_part_and_on_the_pepper() -> None:
    digest = digest_key(KNOWN, b"pepper")

    assert len(digest) == 32
    assert digest == digest_key(KNOWN, b"pepper")
    assert digest != digest_key(KNOWN, b"Pepper")
    assert digest != digest_key(KNOWN[:-1] + "t", b"pepper")


def test_a_new_key_does_not_print_itself() -> None:
    key = make_key(secrets.token_bytes)

    assert key.text not in repr(key)
    assert key.text not in f"{key}"
    assert key.text not in pretty_repr(key)
