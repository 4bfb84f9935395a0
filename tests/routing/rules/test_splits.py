"""Splits: weights, stickiness, and what is recorded of a draw."""

from collections import Counter
from typing import Any
from uuid import UUID

import msgspec
import pytest

from gateway.routing.rules.apply import Ruled, apply_rules
from gateway.routing.rules.drawing import BUCKETS, draw_of
from tests.routing.factories import make_caller, make_request
from tests.routing.rules.applying import AT, SALT, rule, ruled, rules_of

# The 99.99th percentile of chi-square with two degrees of freedom.
CHI_SQUARE_2 = 18.42


def split(by: str, arms: str = "", *, salt: str = "") -> str:
    arms = arms or (
        '{ name = "a", weight = 1 }, { name = "b", weight = 2 }, '
        '{ name = "c", weight = 5, replace_models = ["acme/c"] }'
    )
    more = f', salt = "{salt}"' if salt else ""
    return rule(f'split = {{ by = "{by}"{more}, arms = [{arms}] }}')


def arm_of(found: Ruled) -> str:
    return found.splits[0].arm


def chi_square(counts: Counter[str], expected: dict[str, float]) -> float:
    return sum((counts[arm] - count) ** 2 / count for arm, count in expected.items())


@pytest.mark.parametrize("by", ["request", "session", "user", "key"])
def test_arms_get_their_weights(by: str) -> None:
    rules = rules_of(split(by))
    counts: Counter[str] = Counter()
    for number in range(4_000):
        found = apply_rules(
            rules,
            make_request(session_id=f"s{number}", user=f"u{number}"),
            msgspec.structs.replace(make_caller(), key_id=UUID(int=number if by == "key" else 1)),
            at=AT,
            headers={},
            secret_salt=SALT,
            seed=number,
        )
        counts[arm_of(found)] += 1

    assert chi_square(counts, {"a": 500, "b": 1_000, "c": 2_500}) < CHI_SQUARE_2


@pytest.mark.parametrize(("by", "field"), [("session", "session_id"), ("user", "user")])
def test_what_sticks_gets_one_arm_whatever_the_seed(by: str, field: str) -> None:
    text = split(by)
    for number in range(50):
        unit: dict[str, Any] = {field: f"unit-{number}"}
        arms = {arm_of(ruled(text, seed=seed, **unit)) for seed in range(5)}
        assert len(arms) == 1


def test_a_key_sticks() -> None:
    assert len({arm_of(ruled(split("key"), seed=seed)) for seed in range(20)}) == 1


def test_a_request_without_its_unit_is_drawn_by_itself_and_says_so() -> None:
    found = [ruled(split("session"), seed=seed).splits[0] for seed in range(50)]

    assert {one.unit for one in found} == {"request"}
    assert {one.key_hmac for one in found} == {None}
    assert len({one.arm for one in found}) == 3


def test_sessions_of_two_keys_are_two_though_they_share_a_name() -> None:
    drawn: set[float] = set()
    for number in range(2):
        caller = msgspec.structs.replace(make_caller(), key_id=UUID(int=number))
        found = apply_rules(
            rules_of(split("session")),
            make_request(session_id="s"),
            caller,
            at=AT,
            headers={},
            secret_salt=SALT,
            seed=1,
        )
        drawn.add(found.splits[0].draw)

    assert len(drawn) == 2


def test_rules_of_one_salt_divide_alike_and_others_do_not() -> None:
    def draws(name: str, salt: str) -> list[float]:
        text = split("session", salt=salt).replace('"one"', f'"{name}"')
        return [ruled(text, session_id=f"s{n}").splits[0].draw for n in range(5)]

    assert draws("x", "same") == draws("y", "same")
    assert draws("x", "") != draws("y", "")


def test_another_secret_divides_otherwise() -> None:
    def drawn(secret: bytes) -> float:
        found = apply_rules(
            rules_of(split("session")),
            make_request(session_id="s"),
            make_caller(),
            at=AT,
            headers={},
            secret_salt=secret,
            seed=1,
        )
        return found.splits[0].draw

    assert drawn(b"one") != drawn(b"two")


def test_changed_weights_move_no_more_than_they_must() -> None:
    narrow = split("session", '{ name = "new", weight = 10 }, { name = "old", weight = 90 }')
    wide = split("session", '{ name = "new", weight = 20 }, { name = "old", weight = 80 }')
    for number in range(300):
        unit = f"s{number}"
        if arm_of(ruled(narrow, session_id=unit)) == "new":
            assert arm_of(ruled(wide, session_id=unit)) == "new"


def test_an_arm_without_weight_gets_nothing() -> None:
    text = split("request", '{ name = "off", weight = 0 }, { name = "on", weight = 0.1 }')

    assert {arm_of(ruled(text, seed=seed)) for seed in range(200)} == {"on"}


def test_an_arm_does_what_it_says() -> None:
    text = split(
        "request",
        '{ name = "only", weight = 1, replace_models = ["acme/a"], add_models = ["acme/b"], '
        'set = { order = ["x"] }, tighten = { ignore = ["y"] }, sort = "price", '
        'labels = { arm = "only" } }',
    )

    found = ruled(text)

    assert found.request.models == ("acme/a", "acme/b")
    assert found.request.provider.order == ("x",)
    assert found.request.provider.ignore == ("y",)
    assert found.request.provider.sort == "price"
    assert found.labels == {"arm": "only"}


def test_the_record_says_who_was_drawn_with_which_probability() -> None:
    found = ruled(split("session"), session_id="s", seed=3)
    assignment = found.splits[0]

    stored = found.compact()
    assert stored["rng_rules"] == "blake2b-rule"
    assert stored["mode"] == "rule_split"
    assert msgspec.json.decode(msgspec.json.encode(stored["splits"])) == [
        {
            "rule": "one",
            "arm": assignment.arm,
            "probability": {"a": 0.125, "b": 0.25, "c": 0.625}[assignment.arm],
            "unit": "session",
            "key_hmac": assignment.key_hmac,
            "salt_id": assignment.salt_id,
            "bucket": int(assignment.draw * BUCKETS),
            "draw": assignment.draw,
        }
    ]


def test_a_draw_of_a_request_can_be_made_again_from_the_recorded_seed() -> None:
    found = ruled(split("request"), seed=42).splits[0]

    assert found.draw == draw_of(42, "split", "one")
