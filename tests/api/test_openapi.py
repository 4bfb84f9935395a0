"""The published document: every route is in it, and what is answered is what it says."""

import json
import re
from typing import Any, cast

import httpx
import pytest
from jsonschema import Draft202012Validator
from litestar import Litestar
from litestar.routes import HTTPRoute

from gateway.api.docs import render_page
from gateway.api.json_schema import Schemas
from gateway.api.openapi import make_document
from gateway.api.paths import BASES, CHAT_PATHS
from gateway.api.schemas import ProviderObject
from gateway.api.select_model import SelectModelAnswer, SelectModelRequest
from gateway.chat.fields import FIELDS
from gateway.chat.routing_preferences import _KNOWN  # pyright: ignore[reportPrivateUsage]
from gateway.simulator.server import Simulator
from tests.api.edge import CHAT, Edge, chat_json, served
from tests.pipeline.rig import Offer, events_of, rig_on

pytestmark = pytest.mark.anyio
DOCUMENT = make_document()
OF_THE_DOCUMENT_ITSELF = {"/openapi.json", "/docs"}


def routes_of(edge: Edge) -> set[tuple[str, str]]:
    """Method and path of every route, with the names that the document has for parameters."""
    app = cast(Litestar, edge.app._app)  # pyright: ignore[reportPrivateUsage]
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for method in set(route.methods) - {"OPTIONS", "HEAD"}:
            path = route.path_format
            if path.endswith("/models/{name}"):
                path = path.replace("{name}", "{author}/{slug}")
                found.add((method.lower(), f"{path}/endpoints"))
            found.add((method.lower(), path))
    return found


def documented() -> set[tuple[str, str]]:
    return {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}


def check(path: str, method: str, answer: httpx.Response) -> None:
    """The answer is one that the document has for this operation."""
    described = DOCUMENT["paths"][path][method]["responses"]
    assert str(answer.status_code) in described, answer.text
    response = described[str(answer.status_code)]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in response["content"]
    assert "x-request-id" in answer.headers
    if kind == "application/json":
        validate(answer.json(), response["content"][kind]["schema"])


def validate(value: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    validator = Draft202012Validator(whole)
    validator.validate(value)  # pyright: ignore[reportUnknownMemberType]


async def test_every_route_is_documented_and_nothing_else(edge: Edge) -> None:
    routes = routes_of(edge)

    assert {(method, path) for method, path in routes if path not in OF_THE_DOCUMENT_ITSELF} == (
        documented()
    )
    assert {path for _, path in routes} >= OF_THE_DOCUMENT_ITSELF


async def test_without_a_key_every_route_is_a_401_unless_it_says_that_it_is_open(
    edge: Edge,
) -> None:
    async with edge.client(**{"x-nothing": "here"}) as client:
        for method, path in sorted(routes_of(edge)):
            asked = path.replace("{author}", "acme").replace("{slug}", "large")
            for headers in ({}, {"authorization": "Bearer tw_l_wrong"}, {"x-api-key": "nonsense"}):
                answer = await client.request(method, asked, headers=headers)
                described = DOCUMENT["paths"].get(path, {}).get(method, {"security": []})
                is_open = described.get("security") == []
                assert answer.status_code == (200 if is_open else 401), (method, path)
                if not is_open:
                    check(path, method, answer)
                    assert "www-authenticate" in answer.headers


async def test_answers_are_what_the_document_says(edge: Edge) -> None:
    posted: dict[str, list[bytes]] = {
        path: [chat_json(), chat_json(stream=True), b"{", chat_json(model="acme/none")]
        for path in CHAT_PATHS
    }
    posted |= {f"{base}/completions": [b"{}"] for base in BASES}
    posted |= {
        f"{base}/embeddings": [b"[]", b'{"model":"acme/large","input":"x"}'] for base in BASES
    }
    posted["/v1/select-model"] = [chat_json(), b'{"prompt":"x","models":["acme/large"]}', b"7"]
    async with edge.client() as client:
        for path, bodies in posted.items():
            for body in bodies:
                headers = {"content-type": "application/json"}
                answer = await client.post(path, content=body, headers=headers)
                check(path, "post", answer)
        for method, path in sorted(documented()):
            for model in ("acme/large", "acme/nobody"):
                if method != "get":
                    continue
                asked = path.replace("{author}/{slug}", model)
                check(path, method, await client.get(asked))


EVENTS = {"ChatCompletionChunk", "MessageEvent"}
"""What the events of streams look like; a stream as a whole is text."""


async def test_every_event_of_a_stream_is_a_documented_chunk(edge: Edge) -> None:
    schema = {"$ref": "#/components/schemas/ChatCompletionChunk"}
    async with edge.client() as client:
        for options in ({}, {"stream_options": {"include_usage": True}}):
            answer = await client.post(CHAT, content=chat_json(stream=True, **options))
            events = events_of(answer.content)
            assert events.pop() == "[DONE]"
            for event in events:
                validate(event, schema)


async def test_tools_and_reasoning_are_documented_answers_too(simulator: Simulator) -> None:
    for do in ("tool_calls=find", "reasoning=20"):
        async with rig_on(simulator, Offer(do=do)) as rig, served(Edge(rig)) as edge:
            async with edge.client() as client:
                answer = await client.post(CHAT, content=chat_json())
            if answer.status_code == 200:
                check(CHAT, "post", answer)


def test_examples_fit_their_schemas() -> None:
    count = 0
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            parts = list(operation["responses"].values())
            if "requestBody" in operation:
                parts.append(operation["requestBody"])
            for part in parts:
                for content in part["content"].values():
                    examples = [one["value"] for one in content.get("examples", {}).values()]
                    examples += [content["example"]] if "example" in content else []
                    for example in examples:
                        validate(example, content["schema"])
                        count += 1
            assert operation["operationId"], (path, method)
    assert count > 20


def test_operations_have_names_of_their_own_and_references_lead_somewhere() -> None:
    names = [
        one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()
    ]
    text = json.dumps(DOCUMENT)

    assert len(names) == len(set(names))
    for section, name in re.findall(r'"#/components/(\w+)/([\w-]+)"', text):
        assert name in DOCUMENT["components"][section]
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name
        assert f'"#/components/schemas/{name}"' in text or name in EVENTS, name


def test_every_member_of_a_request_is_documented_in_its_own_words() -> None:
    properties = DOCUMENT["components"]["schemas"]["ChatCompletionRequest"]["properties"]

    for field in FIELDS:
        if field.handling == "refused":
            assert field.name not in properties
        else:
            assert field.meaning in properties[field.name]["description"]
    assert set(properties) == {field.name for field in FIELDS if field.handling != "refused"}
    hard = {"min_throughput", "max_latency"}
    assert set(ProviderObject.__struct_fields__) == set(_KNOWN) - hard


def test_what_is_written_has_all_its_members_and_what_is_read_those_that_it_must() -> None:
    read, written = Schemas(), Schemas()
    read.of(SelectModelRequest, is_written=False)
    written.of(SelectModelAnswer, is_written=True)

    assert read.components["SelectModelRequest"]["required"] == ["prompt"]
    answer = written.components["SelectModelAnswer"]
    assert answer["required"] == list(answer["properties"])


async def test_document_and_page_are_served_without_a_key_and_without_other_hosts(
    edge: Edge,
) -> None:
    async with edge.client(**{"x-nothing": "here"}) as client:
        document = await client.get("/openapi.json")
        page = await client.get("/docs")

    assert document.json() == DOCUMENT
    assert document.headers["content-type"] == "application/json"
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page.text)
    for path in DOCUMENT["paths"]:
        assert path in page.text


def test_the_page_escapes_what_it_shows() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["info"]["title"] = "<script>alert(1)</script>"

    assert "<script>" not in render_page(document)
