"""Every member of every published API, on every path: seen by the provider, or left out aloud."""

import json
from typing import Any
from urllib.parse import unquote

import pytest

from gateway.api.paths import CHAT_PATHS
from gateway.providers.registry import quirks_of
from tests.chat.field_cases import CASES, HELLO, WRONG, Case
from tests.conformance.provider import Gateway
from tests.conformance.shapes import check_error

pytestmark = pytest.mark.anyio


def ids(case: Case) -> str:
    return f"{case.field}-{case.provider}-{json.dumps(case.sent)[:60]}"


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("case", CASES, ids=ids)
async def test_a_member_arrives_or_is_left_out_with_a_warning(
    gateway: Gateway, case: Case, path: str
) -> None:
    gateway.become(
        provider=case.provider,
        provider_model=case.provider_model,
        capabilities=case.capabilities,
        quirks=quirks_of(case.provider),
    )
    sent: dict[str, Any] = {"model": "acme/one", "messages": HELLO} | case.sent

    answered = await gateway.post(path, sent)

    assert answered.status == 200, answered.body
    expected: dict[str, Any] = {"model": case.provider_model, "messages": HELLO}
    assert gateway.asked == [expected | case.upstream]
    shown = answered.chunks() if sent.get("stream") else [answered.json()]
    (metadata,) = [one["metadata"] for one in shown if one.get("metadata")]
    if case.warns_of is None:
        assert metadata["warnings"] == []
        assert "x-tollway-warnings" not in answered.headers
    else:
        assert any(case.warns_of in warning for warning in metadata["warnings"])
        assert case.warns_of[:20] in unquote(answered.headers["x-tollway-warnings"])


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize(("field", "value", "param"), WRONG)
async def test_a_wrong_value_is_refused_by_name_in_the_shape_of_the_path(
    gateway: Gateway, field: str, value: object, param: str, path: str
) -> None:
    answered = await gateway.post(path, {"model": "acme/one", "messages": HELLO, field: value})

    assert answered.status == (422 if path == "/api/v1/openai/chat/completions" else 400)
    assert f"`{param}`" in check_error(path, answered)
    assert gateway.asked == []
