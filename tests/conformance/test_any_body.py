"""Whatever is sent to a chat path is answered, or refused in the words and shape of that path."""

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.paths import CHAT_PATHS
from gateway.chat.fields import BY_NAME
from gateway.simulator.server import Simulator
from tests.api.edge import Edge
from tests.chat.field_cases import CASES, HELLO, WRONG
from tests.conformance.asgi import Answered, call
from tests.conformance.shapes import check_error
from tests.pipeline.rig import Offer, rig_on
from tests.properties import many

pytestmark = pytest.mark.anyio
PATHS = st.sampled_from(sorted(CHAT_PATHS))
ABLE: dict[str, bool] = dict.fromkeys(
    (
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "structured_outputs",
        "json_mode",
        "logprobs",
        "web_search",
        "reasoning",
        "temperature",
    ),
    True,
)
GOOD: tuple[dict[str, Any], ...] = tuple(
    {"model": "acme/large", "messages": HELLO} | case.sent for case in CASES
)
VALUES: tuple[tuple[str, object], ...] = (
    *((name, value) for case in CASES for name, value in case.sent.items()),
    *((name, value) for name, value, _ in WRONG),
)
NUMBERS = (
    *("0", "-0", "-1", "1.5", "0.1e-400", "1e400", "-1E+999", "9" * 400, "1" + "0" * 5000),
    *("NaN", "Infinity", "-Infinity", "01", "1.", ".5", "0x10", str(2**63), str(-(2**63) - 1)),
)
TEXTS = (
    *('""', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\x"', '"\t"', '"' + "x" * 5000 + '"'),
    *('"é\U0001f600"', '"unfinished', "'single'"),
)
DEEP = tuple(
    opening * depth + closing * depth
    for depth in (3, 70, 5000)
    for opening, closing in (("[", "]"), ('{"a":', "}"), ("[", ""))
)
LEAVES = (
    st.sampled_from(("null", "true", "false", *NUMBERS, *TEXTS, *DEEP))
    | st.text(max_size=8).map(json.dumps)
    | st.integers().map(str)
)
NAMES = st.sampled_from(
    (*sorted(BY_NAME), "type", "role", "content", "name", "function", "OfString", "OfText", "url")
) | st.text(max_size=4)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        # Pairs rather than a mapping: a name may come twice.
        | st.lists(st.tuples(NAMES.map(json.dumps), inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        )
    ),
    max_leaves=8,
)
_HERE = "@@here@@"


@pytest.fixture(scope="module")
async def edge() -> AsyncIterator[Edge]:
    """One in front of a strict simulated provider."""
    async with (
        Simulator(speed=0) as simulator,
        rig_on(simulator, Offer(do="tokens=4", capabilities=ABLE)) as rig,
    ):
        yield Edge(rig)


async def send(edge: Edge, path: str, body: bytes) -> None:
    headers = {"authorization": f"Bearer {edge.key}", "content-type": "application/json"}
    check(path, await call(edge.app, path, body, headers=headers))


def check(path: str, answered: Answered) -> None:
    if answered.status != 200:
        check_error(path, answered)
    elif answered.kind == "text/event-stream":
        assert all("error" not in chunk for chunk in answered.chunks())
    else:
        assert answered.json()["object"] == "chat.completion"


def places(value: Any, steps: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to every value inside a value."""
    found = [steps] if steps else []
    if isinstance(value, dict):
        for name, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            found += places(inner, (*steps, name))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        for index, inner in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            found += places(inner, (*steps, index))
    return found


def replaced(value: Any, steps: tuple[str | int, ...], text: str) -> str:
    """The JSON of a value with other text in one place."""
    changed = copy.deepcopy(value)
    holder = changed
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = _HERE
    return json.dumps(changed).replace(f'"{_HERE}"', text)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good request with strange text in one place, and perhaps a member more, or one twice."""
    body = draw(st.sampled_from(GOOD))
    text = replaced(body, draw(st.sampled_from(places(body))), draw(JSON))
    if draw(st.booleans()):
        name, value = draw(st.tuples(NAMES.map(json.dumps), JSON))
        text = f"{{{name}:{value},{text[1:]}"
    return text.encode("utf-8", "surrogatepass")


@given(path=PATHS, body=mutated())
@settings(max_examples=many(500))
async def test_a_good_request_with_something_strange_in_it(
    edge: Edge, path: str, body: bytes
) -> None:
    await send(edge, path, body)


@given(
    path=PATHS,
    members=st.lists(st.sampled_from(VALUES), max_size=5).map(dict[str, Any]),
    has_messages=st.booleans(),
)
@settings(max_examples=many(300))
async def test_members_that_never_met(
    edge: Edge, path: str, members: dict[str, Any], has_messages: bool
) -> None:
    body = {"model": "acme/large"} | ({"messages": HELLO} if has_messages else {}) | members

    await send(edge, path, json.dumps(body).encode())


@given(path=PATHS, text=JSON)
@settings(max_examples=many(200))
async def test_any_json_and_what_resembles_it(edge: Edge, path: str, text: str) -> None:
    await send(edge, path, text.encode("utf-8", "surrogatepass"))


@given(path=PATHS, body=st.binary(max_size=200))
@settings(max_examples=many(150))
async def test_any_bytes(edge: Edge, path: str, body: bytes) -> None:
    await send(edge, path, body)


@given(
    path=PATHS,
    good=st.sampled_from(GOOD).map(lambda body: json.dumps(body).encode()),
    place=st.floats(0, 1),
    edit=st.tuples(st.integers(0, 4), st.binary(max_size=4)),
)
@settings(max_examples=many(200))
async def test_a_good_request_with_wrong_bytes_in_it(
    edge: Edge, path: str, good: bytes, place: float, edit: tuple[int, bytes]
) -> None:
    at = int(place * len(good))
    cut, put = edit

    await send(edge, path, good[:at] + put + good[at + cut :])


@given(
    path=PATHS,
    headers=st.dictionaries(
        st.sampled_from(
            (
                "accept",
                "content-type",
                "content-encoding",
                "idempotency-key",
                "x-no-fallback",
                "x-request-id",
                "x-session-id",
                "x-api-key",
                "http-referer",
                "x-title",
                "origin",
            )
        ),
        st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=300),
        max_size=3,
    ),
)
@settings(max_examples=many(200))
async def test_any_headers(edge: Edge, path: str, headers: dict[str, str]) -> None:
    body = json.dumps({"model": "acme/large", "messages": HELLO}).encode()

    answered = await call(
        edge.app, path, body, headers={"authorization": f"Bearer {edge.key}"} | headers
    )

    check(path, answered)
