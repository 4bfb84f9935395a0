"""The same request on every path, with every way to carry the key, and errors in every shape."""

import base64
import json
from typing import Any

import httpx
import pytest

from gateway.api.paths import CHAT_PATHS, dialect_of
from gateway.chat.dialects import Dialect
from gateway.domain.keys import make_key
from tests.api.edge import Edge, chat_json
from tests.pipeline.rig import events_of

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}
CARRIERS = ("bearer", "basic", "x-api-key")
WRONG = make_key(lambda count: b"w" * count).text


def carried(how: str, key: str) -> dict[str, str]:
    match how:
        case "bearer":
            return {"authorization": f"Bearer {key}"}
        case "basic":
            return {"authorization": "Basic " + base64.b64encode(f"me:{key}".encode()).decode()}
        case _:
            return {"x-api-key": key}


async def post(edge: Edge, path: str, body: bytes, **headers: str) -> httpx.Response:
    async with edge.client() as client:
        return await client.post(path, content=body, headers=JSON | headers)


def message_in(path: str, answer: httpx.Response) -> str:
    """What went wrong, from the one shape that the path's dialect has for it."""
    body = answer.json()
    match CHAT_PATHS.get(path) or dialect_of(path):
        case Dialect.OPENAI:
            assert set(body) == {"error"}
            assert set(body["error"]) >= {"message", "type", "param", "code"}
            assert not isinstance(body["error"]["code"], int)
            return body["error"]["message"]
        case Dialect.OPENROUTER:
            assert set(body) == {"error", "user_id"}
            assert body["error"]["code"] == answer.status_code
            assert body["error"]["metadata"]["error_type"]
            return body["error"]["message"]
        case Dialect.FASTAPI:
            assert set(body) - {"metadata"} == {"detail"}
            if answer.status_code == 422:
                assert all({"loc", "msg", "type"} <= set(fault) for fault in body["detail"])
                return body["detail"][0]["msg"]
            return body["detail"]
        case Dialect.ANTHROPIC:
            assert set(body) == {"type", "error", "request_id"}
            return body["error"]["message"]


@pytest.mark.parametrize("path", CHAT_PATHS)
class TestOnEveryPath:
    @pytest.mark.parametrize("how", CARRIERS)
    async def test_the_same_body_is_answered_however_the_key_is_carried(
        self, edge: Edge, path: str, how: str
    ) -> None:
        async with edge.client(**carried(how, edge.key)) as client:
            answer = await client.post(path, content=chat_json(), headers=JSON)

        assert answer.status_code == 200
        assert answer.json()["choices"][0]["message"]["content"] == "hello there"

    @pytest.mark.parametrize("how", CARRIERS)
    async def test_a_wrong_key_is_a_401_in_the_shape_of_the_path(
        self, edge: Edge, path: str, how: str
    ) -> None:
        async with edge.client(**carried(how, WRONG)) as client:
            answer = await client.post(path, content=chat_json(), headers=JSON)

        assert answer.status_code == 401
        assert "not valid" in message_in(path, answer)
        assert "Bearer" in answer.headers["www-authenticate"]
        assert "Basic" in answer.headers["www-authenticate"]

    async def test_two_different_keys_are_refused(self, edge: Edge, path: str) -> None:
        async with edge.client(**carried("bearer", edge.key), **{"x-api-key": WRONG}) as client:
            answer = await client.post(path, content=chat_json(), headers=JSON)

        assert answer.status_code == 401
        assert "two different" in message_in(path, answer)

    async def test_missing_messages_are_named_in_the_shape_of_the_path(
        self, edge: Edge, path: str
    ) -> None:
        for body in (b'{"model":"acme/large"}', b'{"model":"acme/large","messages":null}'):
            answer = await post(edge, path, body)

            assert "messages" in message_in(path, answer)
            if CHAT_PATHS[path] is Dialect.FASTAPI:
                assert answer.status_code == 422
                assert answer.json()["detail"][0]["loc"] == ["body", "messages"]
            else:
                assert answer.status_code == 400

    async def test_what_is_not_json_is_told_so(self, edge: Edge, path: str) -> None:
        answer = await post(edge, path, b'{"model": ')

        assert message_in(path, answer)
        is_fastapi = CHAT_PATHS[path] is Dialect.FASTAPI
        assert answer.status_code == (422 if is_fastapi else 400)
        if is_fastapi:
            assert answer.json()["detail"][0]["type"] == "json_invalid"

    async def test_flat_and_nested_preferences_may_agree_and_not_contradict(
        self, edge: Edge, path: str
    ) -> None:
        equal = chat_json(provider={"only": ["p1"]}, provider_only=["p1"])
        different = chat_json(provider={"only": ["p1"]}, provider_only=["p2"])
        unknown = chat_json(provider={"max_prce": {"prompt": 1}})

        assert (await post(edge, path, equal)).status_code == 200
        refused = await post(edge, path, different)
        assert refused.status_code in {400, 422}
        said = message_in(path, refused)
        assert "provider_only" in said
        assert "provider.only" in said
        misspelt = await post(edge, path, unknown)
        assert misspelt.status_code in {400, 422}
        assert "max_prce" in message_in(path, misspelt)

    @pytest.mark.parametrize(
        ("body", "headers", "status"),
        [
            (chat_json(model="acme/larg"), {}, 404),
            (chat_json(), {"content-type": "text/plain"}, 415),
            (b" " * 70_000, {}, 413),
        ],
    )
    async def test_every_refusal_has_the_shape_of_the_path(
        self, edge: Edge, path: str, body: bytes, headers: dict[str, str], status: int
    ) -> None:
        answer = await post(edge, path, body, **headers)

        assert answer.status_code == status
        assert message_in(path, answer)
        assert answer.headers["content-type"] == "application/json"

    async def test_another_method_is_a_405_in_the_shape_of_the_path(
        self, edge: Edge, path: str
    ) -> None:
        async with edge.client() as client:
            answer = await client.get(path)

        assert answer.status_code == 405
        assert message_in(path, answer)
        assert "POST" in answer.headers["allow"]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_the_fastapi_dialect_alone_echoes_the_model_as_it_was_asked_for(
        self, edge: Edge, path: str, stream: bool
    ) -> None:
        is_fastapi = CHAT_PATHS[path] is Dialect.FASTAPI
        asked = "p1:acme/large" if is_fastapi else "large"
        answer = await post(edge, path, chat_json(model=asked, stream=stream))

        assert answer.status_code == 200
        chunks: list[Any] = [answer.json()] if not stream else events_of(answer.content)[:-1]
        assert {chunk["model"] for chunk in chunks} == {asked if is_fastapi else "acme/large"}


@pytest.mark.parametrize(
    "path", ["/nope", "/v1/nope", "/api/v1/nope", "/api/nope", "/api/v1/openai/nope"]
)
async def test_an_unknown_path_is_a_404_in_the_shape_of_its_neighbours(
    edge: Edge, path: str
) -> None:
    async with edge.client() as client:
        answer = await client.get(path)

    assert answer.status_code == 404
    assert path in message_in(path, answer)
    assert answer.headers["x-request-id"]
    assert json.loads(answer.content)
