"""Every request member on every dialect: sent, checked, and seen by an endpoint."""

import json
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.chat.fields import BY_NAME, FIELDS
from gateway.chat.view import View
from gateway.domain.errors import InvalidRequestError
from gateway.providers.base import Target
from gateway.providers.openai import OpenAIAdapter
from gateway.providers.registry import quirks_of
from pricing.catalogue import Endpoint
from tests.chat.field_cases import ANYTHING, CASES, HELLO, WRONG, Case
from tests.chat.fields_doc import PAGE, render

ADAPTER = OpenAIAdapter()
DIALECTS = tuple(Dialect)
NAMELESS: dict[str, Any] = {"model": "acme/one", "messages": HELLO}


def target_of(case: Case) -> Target:
    endpoint = Endpoint(
        id=f"{case.provider}/{case.provider_model}",
        provider=case.provider,
        provider_model=case.provider_model,
        model="acme/one",
        capabilities=case.capabilities,
    )
    return Target(
        endpoint=endpoint, base_url="http://127.0.0.1:9/v1", quirks=quirks_of(case.provider)
    )


def ids(case: Case) -> str:
    return f"{case.field}-{case.provider}-{json.dumps(case.sent)[:60]}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_member_arrives_as_the_table_says(case: Case, dialect: Dialect) -> None:
    body = json.dumps(NAMELESS | case.sent).encode()

    request = decode_chat_request(body, dialect=dialect)
    wire = ADAPTER.build_request(request, target_of(case), "")

    expected = {"model": case.provider_model, "messages": HELLO} | case.upstream
    assert json.loads(wire.body) == expected
    warnings = (*request.warnings, *wire.warnings)
    if case.warns_of is None:
        assert warnings == ()
    else:
        assert any(case.warns_of in warning for warning in warnings)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("field", "value", "param"), WRONG)
def test_a_wrong_value_is_refused_by_name(
    field: str, value: object, param: str, dialect: Dialect
) -> None:
    body = json.dumps(NAMELESS | {field: value}).encode()

    with pytest.raises(InvalidRequestError) as caught:
        decode_chat_request(body, dialect=dialect)

    error = caught.value
    assert error.param == param
    assert f"`{param}`" in error.message
    status, _, rendered = render_error(error, dialect)
    shown = json.loads(rendered)
    if dialect is Dialect.FASTAPI:
        assert status == 422
        assert [str(step) for step in shown["detail"][0]["loc"]] == ["body", *param.split(".")]
    else:
        assert status == 400
        assert shown["error"]["message"] == error.message


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("field", sorted(set(BY_NAME) - {"model", "messages", "provider_configs"}))
def test_null_is_the_same_as_absence(field: str, dialect: Dialect) -> None:
    plain = decode_chat_request(json.dumps(NAMELESS).encode(), dialect=dialect)

    nulled = decode_chat_request(json.dumps(NAMELESS | {field: None}).encode(), dialect=dialect)

    assert nulled == plain


def test_every_member_has_examples_and_wrong_values() -> None:
    assert {case.field for case in CASES} == set(BY_NAME) - {"provider_configs"}
    assert {field for field, _, _ in WRONG} == set(BY_NAME) - ANYTHING


def test_every_typed_member_is_listed_once() -> None:
    assert len(BY_NAME) == len(FIELDS)
    assert set(View.__struct_fields__) <= set(BY_NAME)


def refusal(body: dict[str, Any], dialect: Dialect) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidRequestError) as caught:
        decode_chat_request(json.dumps(body).encode(), dialect=dialect)
    status, _, rendered = render_error(caught.value, dialect)
    return status, json.loads(rendered)


@pytest.mark.parametrize("body", [{"model": "m"}, {"model": "m", "messages": None}])
def test_missing_messages_are_told_in_every_dialect(body: dict[str, Any]) -> None:
    status, shown = refusal(body, Dialect.FASTAPI)
    assert status == 422
    assert shown["detail"][0]["loc"] == ["body", "messages"]
    assert shown["detail"][0]["type"] == "missing"

    status, shown = refusal(body, Dialect.OPENAI)
    assert (status, shown["error"]["param"]) == (400, "messages")

    status, shown = refusal(body, Dialect.OPENROUTER)
    assert (status, shown["error"]["code"]) == (400, 400)


@pytest.mark.parametrize("more", [{}, {"model": None}, {"model": " "}, {"models": ["a"]}])
def test_the_model_is_required_by_the_fastapi_dialect_alone(more: dict[str, Any]) -> None:
    body = {"messages": HELLO} | more

    status, shown = refusal(body, Dialect.FASTAPI)

    assert status == 422
    assert shown["detail"][0]["loc"] == ["body", "model"]
    for dialect in (Dialect.OPENAI, Dialect.OPENROUTER):
        request = decode_chat_request(json.dumps(body).encode(), dialect=dialect)
        assert request.models == tuple(more.get("models", ()))


def test_labels_are_texts_where_the_dialect_asks_for_texts() -> None:
    body = json.dumps(
        NAMELESS | {"metadata": {"a": "b", "n": 1.50, "yes": True, "no": None}, "store": True}
    ).encode()

    for dialect in (Dialect.OPENAI, Dialect.FASTAPI):
        request = decode_chat_request(body, dialect=dialect)
        assert request.labels == {"a": "b", "n": "1.5", "yes": "true"}
        assert json.loads(bytes(request.body["metadata"])) == request.labels
    status, shown = refusal(json.loads(body), Dialect.OPENROUTER)
    assert status == 400
    assert "`metadata`: 'n' is not a text" in shown["error"]["message"]


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.OPENROUTER])
def test_unknown_members_are_carried(dialect: Dialect) -> None:
    body = json.dumps(NAMELESS | {"tomorrow": {"x": 1}}).encode()

    request = decode_chat_request(body, dialect=dialect)

    assert bytes(request.body["tomorrow"]) == b'{"x": 1}'
    assert "tomorrow" in request.parameters


def test_the_fastapi_dialect_leaves_unknown_members_out() -> None:
    body = json.dumps(NAMELESS | {"tomorrow": 1, "top_k": 3}).encode()

    request = decode_chat_request(body, dialect=Dialect.FASTAPI)

    assert "tomorrow" not in request.body
    assert "top_k" in request.body
    assert request.warnings == ("unknown members were left out: `tomorrow`",)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render()
