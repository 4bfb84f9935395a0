"""What a request body becomes, and how wrong ones are refused."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError
from tests.properties import many

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
NOTHING: dict[str, Any] = {}
EMPTY: list[Any] = []


def decode(body: object, **kwargs: Any) -> ChatRequest:
    kwargs.setdefault("dialect", Dialect.OPENAI)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_chat_request(raw, **kwargs)


def request(**members: Any) -> ChatRequest:
    return decode({"model": "gpt-4o", "messages": HELLO, **members})


def refusal(body: object, **kwargs: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        decode(body, **kwargs)
    assert "Traceback" not in caught.value.message
    return caught.value


def test_a_plain_request_is_read() -> None:
    result = request(stream=True, stream_options={"include_usage": True}, user="u1")

    assert result.models == ("gpt-4o",)
    assert result.stream
    assert result.include_usage
    assert result.user == "u1"
    assert result.choice_count == 1
    assert result.max_output_tokens is None
    assert result.needs == frozenset()
    assert result.parameters == frozenset()
    assert result.warnings == ()


def test_everything_is_carried_exactly_as_typed() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":1e2,"zzz":1.10 }'.replace(
            b'"seed":1e2,', b""
        )
    )

    result = decode(body)

    assert bytes(result.body["zzz"]) == b"1.10"
    assert bytes(result.body["messages"]) == b'[{"role":"user","content":"x"}]'


def test_null_is_the_same_as_absence() -> None:
    names = (
        "temperature",
        "stop",
        "tools",
        "provider",
        "models",
        "max_tokens",
        "reasoning",
        "stream",
        "user",
        "n",
    )

    result = request(**dict.fromkeys(names))

    assert result == request()
    assert set(result.body) == {"model", "messages"}


def test_models_come_in_order_without_repeats() -> None:
    assert request(models=["b", "gpt-4o", "c", "b"]).models == ("gpt-4o", "b", "c")
    assert decode({"messages": HELLO, "models": ["b"]}).models == ("b",)
    assert decode({"messages": HELLO}).models == ()
    assert decode({"messages": HELLO, "model": "  "}).models == ()


def test_the_fastapi_dialect_requires_a_model() -> None:
    error = refusal({"messages": HELLO}, dialect=Dialect.FASTAPI)

    assert (error.param, error.code) == ("model", "missing")


def test_the_newer_token_cap_wins_with_a_warning() -> None:
    result = request(max_tokens=10, max_completion_tokens=20)

    assert result.max_output_tokens == 20
    assert "max_completion_tokens" in result.warnings[0]
    assert request(max_tokens=10).max_output_tokens == 10
    assert request(max_tokens=10, max_completion_tokens=10).warnings == ()


def test_needs_are_what_the_answer_depends_on() -> None:
    def part(kind: str, value: object) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": kind, kind: value}]}]

    tool = {"type": "function", "function": {"name": "f"}}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": NOTHING}}

    assert request(tools=[tool]).needs == {"tools"}
    assert request(tools=[{"type": "web_search"}]).needs == {"web_search"}
    assert request(functions=[{"name": "f"}]).needs == {"tools"}
    assert request(response_format=schema).needs == {"structured_outputs"}
    assert request(response_format={"type": "json_object"}).needs == {"json_mode"}
    assert request(modalities=["text", "audio"]).needs == {"audio_output"}
    assert request(logprobs=True).needs == {"logprobs"}
    assert request(web_search_options={}).needs == {"web_search"}
    assert request(reasoning={"enabled": True}).needs == {"reasoning"}
    assert request(reasoning_effort="low").needs == set()
    assert request(messages=part("image_url", {"url": "https://x/y.png"})).needs == {"vision"}
    assert request(messages=part("input_audio", {"data": ""})).needs == {"audio_input"}
    assert request(messages=part("file", {"file_data": ""})).needs == {"pdf_input"}


def test_parameters_are_named_without_those_of_routing() -> None:
    result = request(temperature=1, top_k=5, provider={}, models=["x"], stream=False, user="u")

    assert result.parameters == {"temperature", "top_k"}


def test_size_is_counted_in_bytes_and_images() -> None:
    parts = [
        {"type": "text", "text": "héé"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}},
    ]

    result = request(messages=[*HELLO, {"role": "user", "content": parts}])

    assert result.prompt_bytes == 5 + 5
    assert result.image_count == 1
    assert result.prompt_tokens_estimate == 3 + 2 * 4 + 800


def test_assistant_messages_may_have_no_content() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
    ]

    assert request(messages=messages).models == ("gpt-4o",)


def test_headers_switch_fallbacks_off_and_name_the_session() -> None:
    headers = {"x-no-fallback": "True", "x-session-id": "s-header"}

    result = decode({"messages": HELLO}, headers=headers)

    assert result.provider.allow_fallbacks is False
    assert result.session_id == "s-header"
    assert decode({"messages": HELLO, "session_id": "s"}, headers=headers).session_id == "s"


def test_empty_lists_mean_nothing() -> None:
    result = request(stop=[], tools=[], tool_choice="auto")

    assert set(result.body) == {"model", "messages"}


@pytest.mark.parametrize(
    ("members", "param"),
    [
        pytest.param({"temperature": 2.1}, "temperature", id="temperature-high"),
        pytest.param({"temperature": "1"}, "temperature", id="temperature-text"),
        pytest.param({"temperature": True}, "temperature", id="temperature-bool"),
        pytest.param({"top_p": -0.1}, "top_p", id="top_p-low"),
        pytest.param({"frequency_penalty": 3}, "frequency_penalty", id="frequency-high"),
        pytest.param({"presence_penalty": -3}, "presence_penalty", id="presence-low"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="max-tokens-zero"),
        pytest.param({"max_completion_tokens": 1.5}, "max_completion_tokens", id="cap-fraction"),
        pytest.param({"max_tokens": 10**30}, "max_tokens", id="cap-huge"),
        pytest.param({"n": 0}, "n", id="n-zero"),
        pytest.param({"n": 9}, "n", id="n-nine"),
        pytest.param({"stop": ["a"] * 5}, "stop", id="five-stops"),
        pytest.param({"stop": ""}, "stop", id="empty-stop"),
        pytest.param({"stop": ["a", ""]}, "stop", id="empty-stop-in-list"),
        pytest.param({"stream": "yes"}, "stream", id="stream-text"),
        pytest.param({"stream_options": []}, "stream_options", id="stream-options-list"),
        pytest.param({"top_logprobs": 21}, "top_logprobs", id="top-logprobs"),
        pytest.param({"logit_bias": {"1": 101}}, "logit_bias.*", id="logit-bias"),
        pytest.param({"tools": [{"type": "function"}]}, "tools.0.function", id="tool-without"),
        pytest.param(
            {"tools": [{"type": "function", "function": NOTHING}]},
            "tools.0.function.name",
            id="no-name",
        ),
        pytest.param({"tool_choice": "sometimes"}, "tool_choice", id="tool-choice-word"),
        pytest.param({"tool_choice": "required"}, "tool_choice", id="tool-choice-alone"),
        pytest.param({"response_format": {"type": "xml"}}, "response_format.type", id="form"),
        pytest.param(
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            id="schema-missing",
        ),
        pytest.param({"models": "a"}, "models", id="models-text"),
        pytest.param({"models": ["a"] * 17}, "models", id="too-many-models"),
        pytest.param({"model": 3}, "model", id="model-number"),
        pytest.param({"model": "a\x00b"}, "model", id="model-nul"),
        pytest.param({"user": "a\x00"}, "user", id="user-nul"),
        pytest.param({"session_id": "x" * 257}, "session_id", id="session-long"),
        pytest.param({"metadata": {"a": "x" * 513}}, "metadata", id="metadata-long"),
        pytest.param({"modalities": ["smell"]}, "modalities.0", id="modality"),
        pytest.param(
            {"reasoning_effort": "low", "reasoning": {"effort": "high"}},
            "reasoning_effort",
            id="two-efforts",
        ),
        pytest.param({"base_url": "http://169.254.169.254"}, "base_url", id="base-url"),
        pytest.param({"api_key": "k"}, "api_key", id="api-key"),
        pytest.param({"provider_configs": {}}, "provider_configs", id="provider-configs"),
        pytest.param({"extra_headers": {}}, "extra_headers", id="headers"),
        pytest.param({"max_cost_usd": -1}, "max_cost_usd", id="cost-negative"),
        pytest.param({"provider_onyl": ["x"]}, "provider_onyl", id="flat-preference"),
        pytest.param(
            {"route": "sort", "provider": {"sort": {"partition": "model"}}}, "route", id="route"
        ),
        pytest.param(
            {"max_cost_usd": 1, "provider": {"max_cost_usd": 2}}, "max_cost_usd", id="two-costs"
        ),
        pytest.param({"plugins": [{"id": "moderation"}]}, "plugins.0", id="plugin"),
        pytest.param({"messages": None}, "messages", id="messages-null"),
        pytest.param({"messages": []}, "messages", id="messages-empty"),
        pytest.param({"messages": "hi"}, "messages", id="messages-text"),
        pytest.param({"messages": ["hi"]}, "messages.0", id="message-text"),
        pytest.param({"messages": [{"content": "x"}]}, "messages.0.role", id="no-role"),
        pytest.param(
            {"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role", id="role-unknown"
        ),
        pytest.param({"messages": [{"role": "user"}]}, "messages.0.content", id="no-content"),
        pytest.param(
            {"messages": [{"role": "user", "content": 1}]},
            "messages.0.content",
            id="content-number",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": EMPTY}]}, "messages.0.content", id="no-parts"
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text",
            id="no-text",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content.0.image_url",
            id="no-image",
        ),
        pytest.param(
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages.0.tool_call_id",
            id="no-call-id",
        ),
        pytest.param(
            {"messages": [{"role": "assistant", "tool_calls": [{"function": NOTHING}]}]},
            "messages.0.tool_calls.0.function.name",
            id="call-without-name",
        ),
    ],
)
def test_a_wrong_member_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal({"model": "m", "messages": HELLO, **members})

    assert error.param == param
    assert error.status == 400
    assert f"`{param}`" in error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "ends too early", id="empty"),
        pytest.param(b"{", "ends too early", id="cut"),
        pytest.param(b'{"a":1,}', "byte 7", id="trailing-comma"),
        pytest.param(b'{"temperature": NaN}', "byte 16", id="nan"),
        pytest.param(b'{"temperature": -Infinity}', "at byte", id="infinity"),
        pytest.param(b'{"user": "\xff"}', "UTF-8 at byte 10", id="utf8"),
        pytest.param(b'{"user": "\xed\xa0\x80"}', "UTF-8", id="surrogate-bytes"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', "byte 0", id="byte-order-mark"),
        pytest.param(b'{"user": "\\ud800"}', "escaped character", id="lone-surrogate"),
        pytest.param(b"[]", "JSON object", id="list"),
        pytest.param(b'"x"', "JSON object", id="string"),
        pytest.param(b"null", "JSON object", id="null"),
        pytest.param(b'{"a":1} {}', "trailing characters", id="two-values"),
    ],
)
def test_what_is_not_a_json_object_is_refused_with_its_place(body: bytes, message: str) -> None:
    assert message in refusal(body).message


def test_a_cut_body_of_many_brackets_is_refused() -> None:
    assert refusal(b'{"a":' * 100_000).code in {"too_complex", "json_invalid"}
    assert refusal(b"[" * 1_000_000).code in {"too_complex", "json_invalid"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "model",
        "models",
        "messages",
        "stream",
        "stop",
        "tools",
        "tool_choice",
        "provider",
        "plugins",
        "reasoning",
        "response_format",
        "metadata",
        "n",
        "user",
        "stream_options",
        "route",
    ]
)
ROLES = st.sampled_from(["user", "assistant", "tool", "system", "x"])
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES}, optional={"content": JSON, "tool_calls": JSON, "tool_call_id": JSON}
)


@given(body=st.dictionaries(NAMES, JSON, max_size=6) | JSON, messages=st.lists(MESSAGE, max_size=3))
@settings(max_examples=many(250))
def test_any_json_is_a_request_or_a_clear_refusal(body: Any, messages: list[Any]) -> None:
    if isinstance(body, dict) and messages:
        body["messages"] = messages
    raw = msgspec.json.encode(body)
    try:
        result = decode_chat_request(raw, dialect=Dialect.OPENROUTER)
    except InvalidRequestError as error:
        assert error.message  # noqa: PT017
    else:
        assert isinstance(result, ChatRequest)


@given(raw=st.binary(max_size=60))
@settings(max_examples=many(150))
def test_any_bytes_are_a_request_or_a_clear_refusal(raw: bytes) -> None:
    for body in (raw, b'{"messages":[{"role":"user","content":"x"}],"user":"' + raw + b'"}'):
        try:
            decode_chat_request(body, dialect=Dialect.FASTAPI)
        except InvalidRequestError as error:
            assert error.message  # noqa: PT017
