"""Any JSON is a request or an error that its dialect can read; a request can be sent upstream."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.chat.fields import BY_NAME
from gateway.domain.errors import GatewayError
from gateway.providers.base import Target
from gateway.providers.openai import OpenAIAdapter
from gateway.providers.registry import quirks_of
from pricing.catalogue import Endpoint
from tests.chat.field_cases import CASES, HELLO, WRONG
from tests.properties import many

ADAPTER = OpenAIAdapter()
TARGETS = tuple(
    Target(
        endpoint=Endpoint(
            id=f"{provider}/one",
            provider=provider,
            provider_model="one",
            model="acme/one",
            capabilities={"web_search": True},
        ),
        base_url="http://127.0.0.1:9/v1",
        quirks=quirks_of(provider),
    )
    for provider in ("acme", "openai", "openrouter", "mistral")
)
VALUES: tuple[tuple[str, object], ...] = (
    *((name, value) for case in CASES for name, value in case.sent.items()),
    *((name, value) for name, value, _ in WRONG),
)
WRAPS = st.sampled_from(["OfString", "OfText", "OfFunction", "OfUser", "OfAuto"])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WRAPS, inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "name", "function", "content", "id", "role", "effort"]),
            inner,
            max_size=3,
        )
        | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=10,
)
PLAUSIBLE = st.lists(st.sampled_from(VALUES), max_size=4).map(dict[str, Any])
STRANGE = st.dictionaries(st.sampled_from(sorted(BY_NAME)) | st.text(max_size=6), JSON, max_size=4)


MEMBERS: dict[Dialect, set[str]] = {
    Dialect.OPENAI: {"error"},
    Dialect.OPENROUTER: {"error", "user_id"},
    Dialect.ANTHROPIC: {"type", "error", "request_id"},
    Dialect.FASTAPI: {"detail"},
}
"""What an error's body consists of."""


def check(raw: bytes, dialect: Dialect) -> None:
    try:
        request = decode_chat_request(raw, dialect=dialect)
    except GatewayError as error:
        status, headers, body = render_error(error, dialect)
        shown = json.loads(body)
        assert 400 <= status < 500
        assert ("Content-Type", "application/json") in headers
        assert set(shown) == MEMBERS[dialect]
    else:
        for target in TARGETS:
            json.loads(ADAPTER.build_request(request, target, "k").body)


@given(
    plausible=PLAUSIBLE,
    strange=STRANGE,
    has_messages=st.booleans(),
    dialect=st.sampled_from(Dialect),
)
@settings(max_examples=many(400))
def test_any_members_are_a_request_or_a_rendered_error(
    plausible: dict[str, Any],
    strange: dict[str, Any],
    has_messages: bool,
    dialect: Dialect,
) -> None:
    body: dict[str, Any] = {"model": "m"} | strange | plausible
    if has_messages:
        body["messages"] = HELLO

    check(msgspec.json.encode(body), dialect)


@given(body=JSON, dialect=st.sampled_from(Dialect))
@settings(max_examples=many(150))
def test_any_json_is_a_request_or_a_rendered_error(body: object, dialect: Dialect) -> None:
    check(msgspec.json.encode(body), dialect)


HALF = rb'"\ud800"'


@pytest.mark.parametrize("dialect", tuple(Dialect))
@pytest.mark.parametrize(
    "member",
    [
        b'"tools":[{"type":"function","function":{"name":"f",' + HALF + b':1,"strict":null}}]',
        b'"tools":[{"type":"function","function":{"name":"f","description":null,"x":'
        + HALF
        + b"}}]",
        b'"functions":[{"name":"f","x":' + HALF + b"}]",
        b'"stop":{' + HALF + b':1,"OfString":"x"}',
        b'"metadata":{' + HALF + b':"x"}',
        b'"metadata":{"x":' + HALF + b"}",
        b'"stream":true,"stream_options":{' + HALF + b":1}",
        b'"provider":{' + HALF + b":1}",
        b'"zzz":{' + HALF + b':null,"OfString":1}',
        b'"response_format":{"type":"text","x":null,' + HALF + b":1}",
        b'"prediction":{"type":"content","content":"x","y":null,' + HALF + b":1}",
    ],
)
def test_half_characters_anywhere_are_refused_or_carried(member: bytes, dialect: Dialect) -> None:
    for message in (
        b'{"role":"user","content":"x"}',
        b'{"role":"developer","content":"x","zzz":null,' + HALF + b":1}",
        b'{"role":"assistant","content":"x","function_call":null,"z":{' + HALF + b":1}}",
    ):
        check(b'{"model":"m","messages":[' + message + b"]," + member + b"}", dialect)
