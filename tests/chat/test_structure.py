"""Bounds of a body's structure, and members that are given twice."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.structure import check_members_are_unique, check_size_of_structure
from gateway.domain.errors import InvalidRequestError
from tests.properties import many


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_nesting_is_allowed_up_to_64_levels() -> None:
    check_size_of_structure(nested(64))

    with pytest.raises(InvalidRequestError, match="64"):
        check_size_of_structure(nested(65))


def test_brackets_inside_strings_do_not_count() -> None:
    check_size_of_structure(b'{"a":"' + b"[" * 300 + b'"}')
    check_size_of_structure(b'{"a":"\\"' + b"[{" * 300 + b'\\\\"}')
    check_size_of_structure(b'{"a":"x\\\\","b":"' + b"[" * 300 + b'"}')


def test_a_backslash_at_the_end_of_a_string_hides_nothing() -> None:
    with pytest.raises(InvalidRequestError):
        check_size_of_structure(b'{"a":"x\\\\","b":' + b"[" * 80 + b"]" * 80 + b"}")


def test_broad_bodies_of_many_objects_are_fine() -> None:
    check_size_of_structure(b'{"a":[' + b",".join([b'{"b":[1]}'] * 10_000) + b"]}")


def test_more_than_200_000_values_are_refused() -> None:
    check_size_of_structure(b'{"a":"' + b"," * 300_000 + b'"}')

    with pytest.raises(InvalidRequestError, match="200,000"):
        check_size_of_structure(b'{"a":[' + b"1," * 200_001 + b"1]}")


@given(depth=st.integers(1, 100), text=st.text(alphabet='ab[]{}"\\,', max_size=30))
@settings(max_examples=many(150))
def test_depth_is_seen_whatever_stands_in_strings(depth: int, text: str) -> None:
    body = b'{"s":%b,"a":%b%b}' % (msgspec.json.encode(text), b"[" * depth, b"]" * depth)

    if depth + 1 > 64:
        with pytest.raises(InvalidRequestError):
            check_size_of_structure(body)
    else:
        check_size_of_structure(body)


def check(body: bytes) -> None:
    check_members_are_unique(body, msgspec.json.decode(body, type=dict[str, msgspec.Raw]))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{}", id="empty"),
        pytest.param(b' \n{ "a" : 1 , "b":\t[1, 2] } ', id="spaces"),
        pytest.param(b'{"a":1,"b":{"a":1,"a":2}}', id="only-inside"),
        pytest.param(b'{"a\\u0062":1,"b":"x"}', id="escaped-name"),
        pytest.param(b'{"":1,"a":""}', id="empty-name"),
    ],
)
def test_members_that_are_unique_pass(body: bytes) -> None:
    check(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":1,"a":1}', id="same-value"),
        pytest.param(b'{"a":1,"b":2,"a":1}', id="at-the-end"),
        pytest.param(b'{"a":12,"b":2,"a":1}', id="prefix"),
        pytest.param(b'{"a":1,"b":2,"a":12}', id="longer"),
        pytest.param(b'{"a":[1],"a":[1,"a"]}', id="lists"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="escaped"),
        pytest.param(b'{ "b":0, "a" : "x" , "a": "y" }', id="spaces"),
    ],
)
def test_a_member_given_twice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="`a` is given twice"):
        check(body)


@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "ab", "ä", '"']), st.integers(0, 12) | st.text(max_size=3)
        ),
        max_size=5,
    ),
    space=st.sampled_from(["", " ", "\n\t"]),
)
@settings(max_examples=many(200))
def test_repeats_are_found_exactly(pairs: list[tuple[str, int | str]], space: str) -> None:
    encode = msgspec.json.encode
    members = ",".join(
        f"{space}{encode(name).decode()}{space}:{space}{encode(value).decode()}{space}"
        for name, value in pairs
    )
    body = ("{" + members + "}").encode()

    if len({name for name, _ in pairs}) < len(pairs):
        with pytest.raises(InvalidRequestError):
            check(body)
    else:
        check(body)


def test_too_many_members_are_refused() -> None:
    body = b"{" + b",".join(b'"m%d":1' % number for number in range(513)) + b"}"

    with pytest.raises(InvalidRequestError, match="512"):
        check(body)
