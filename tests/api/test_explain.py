"""``POST …/explain`` and ``debug.explain``: the decision told over the wire, in every dialect."""

import json
from typing import Any

import msgspec
import pytest

from gateway.api.explain import CHAT_EXPLAIN_PATHS, MESSAGES_EXPLAIN_PATHS
from gateway.api.paths import CHAT_PATHS, dialect_of
from gateway.chat.dialects import Dialect
from gateway.simulator.server import Simulator
from tests.api.edge import CHAT, Edge
from tests.conformance.asgi import Answered, call
from tests.pipeline.rig import Offer, asked, events_of, rig_on
from tests.routing.rules.applying import rule

pytestmark = pytest.mark.anyio

OFFERS = (Offer(), Offer(input_usd="2", output_usd="4"))
HELLO = [{"role": "user", "content": "Hello"}]
EXPLAIN: dict[str, Any] = {"debug": {"explain": True}}


def body_of(**members: Any) -> bytes:
    return json.dumps({"model": "acme/large", "messages": HELLO} | members).encode()


async def post(edge: Edge, path: str, **members: Any) -> Answered:
    """A request with the key, to the application itself."""
    headers = {"authorization": f"Bearer {edge.key}"}
    return await call(edge.app, path, body_of(**members), headers=headers)


@pytest.mark.parametrize("path", [*CHAT_EXPLAIN_PATHS, *MESSAGES_EXPLAIN_PATHS])
async def test_every_dialect_explains_and_nobody_is_asked(simulator: Simulator, path: str) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        answered = await post(Edge(rig), path, max_tokens=50)

        assert answered.status == 200
        assert {one["provider"] for one in answered.json()["candidates"]} == {"p1", "p2"}
        assert rig.ledger.records == rig.ledger.begun == []
    assert asked(simulator) == []


async def test_a_slash_means_what_it_means_on_the_path_beside(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        edge = Edge(rig)
        pinned = (await post(edge, "/v1/explain", model="p2/large")).json()
        free = (await post(edge, "/api/v1/explain", model="acme/large")).json()

    assert (pinned["requested_provider"], pinned["strategy"]) == ("p2", "pinned")
    assert (free["requested_provider"], free["strategy"]) == (None, "price-weighted")


async def test_a_key_is_needed_and_the_error_has_the_shape_of_the_path(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        edge = Edge(rig)
        nobody = await call(edge.app, "/api/v1/openai/explain", body_of(), headers={})
        unknown = await post(edge, "/v1/explain", model="acme/unheard-of")
        malformed = await post(edge, "/api/v1/openai/explain", messages=[])

    assert (nobody.status, list(nobody.json())) == (401, ["detail"])
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert (malformed.status, malformed.json()["detail"][0]["loc"]) == (422, ["body", "messages"])


async def test_whom_nobody_may_serve_is_explained_too(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        answered = await post(Edge(rig), "/v1/explain", provider={"max_price": {"prompt": 0.5}})

    said = answered.json()
    assert answered.status == 200
    assert (said["refusal"]["status"], said["excluded_by"]) == (404, {"max_price": 2})


async def test_rules_hold_in_a_dry_run(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS, rules=rule('deny = "No."', name="shut")) as rig:
        answered = await post(Edge(rig), "/v1/explain")

    assert answered.json()["rules"]["denied_by"] == "shut"


@pytest.mark.parametrize("path", CHAT_PATHS)
async def test_an_answer_tells_its_plan_where_it_is_asked_to(
    simulator: Simulator, path: str
) -> None:
    async with rig_on(simulator, *OFFERS, rules=rule('labels = { a = "b" }', name="mark")) as rig:
        edge = Edge(rig)
        whole = await post(edge, path, **EXPLAIN)
        streamed = await post(edge, path, stream=True, **EXPLAIN)
        silent = await post(edge, path)
        records = rig.ledger.records

    metadata = [
        whole.json()["metadata"],
        events_of(streamed.body)[-2]["metadata"],
    ]
    for said, record in zip(metadata, records, strict=False):
        plan: dict[str, Any] = said["plan"]
        assert plan["seed"] == str(record.plan["seed"])
        stored = msgspec.convert(record.plan["candidates"], list[dict[str, Any]])
        assert [one["endpoint"] for one in plan["candidates"]] == [
            one["endpoint"] for one in stored
        ]
        assert plan["candidates"][0]["provider"] == said["used_provider"]
        assert plan["rules"]["applied"] == ["mark"]
        assert plan["rules"]["version"] == record.rule_version
        assert plan["catalogue_version"] == record.catalogue_version
    assert "plan" not in silent.json()["metadata"]


async def test_a_messages_client_gets_its_plan_too(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        answered = await post(Edge(rig), "/v1/messages", max_tokens=50, **EXPLAIN)

    assert len(answered.json()["metadata"]["plan"]["candidates"]) == 2


@pytest.mark.parametrize("path", [*CHAT_PATHS, "/v1/messages"])
async def test_a_refusal_names_the_constraint_and_what_would_have_to_change_in_every_dialect(
    simulator: Simulator, path: str
) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        cap = {"max_price": {"prompt": 0.5}}
        answered = await post(Edge(rig), path, provider=cap, max_tokens=50)

    body = answered.json()
    is_fastapi = dialect_of(path) is Dialect.FASTAPI
    message = body["detail"] if is_fastapi else body["error"]["message"]
    metadata = (body if is_fastapi else body["error"])["metadata"]
    assert answered.status == 404
    assert "2 by max_price (prompt 1 > 0.5)" in message
    assert "raise `provider.max_price`" in message
    assert metadata["excluded_by"] == {"max_price": 2}
    assert metadata["constraints"] == {"max_price": "raise `provider.max_price`"}
    assert metadata["generation_id"].startswith("gen-")


@pytest.mark.parametrize("path", [*CHAT_PATHS, "/v1/messages"])
async def test_when_all_rest_the_refusal_says_when_to_come_back_in_every_dialect(
    simulator: Simulator, path: str
) -> None:
    # The one attempt is refused with 429; from then on the provider rests for 7 s.
    async with rig_on(simulator, Offer(do="429,retry_after=7"), max_attempts=1) as rig:
        answered = await post(Edge(rig), path, max_tokens=50)

    body = answered.json()
    metadata = (body if dialect_of(path) is Dialect.FASTAPI else body["error"])["metadata"]
    assert answered.status == 429
    assert answered.headers["retry-after"] == "7"
    assert metadata["retry_after"] == 7


async def test_the_answer_over_a_socket_is_the_same(edge: Edge) -> None:
    async with edge.client() as client:
        explained = await client.post("/v1/explain", content=body_of())
        answered = await client.post(CHAT, content=body_of(**EXPLAIN))

    assert explained.status_code == answered.status_code == 200
    assert (
        explained.json()["candidates"][0]["endpoint"]
        == answered.json()["metadata"]["plan"]["candidates"][0]["endpoint"]
    )
