"""Lists, single models, endpoints and providers as keys see them, and the dry run."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from gateway.api.listing import list_models, to_pricing
from gateway.api.models import list_providers
from gateway.api.paths import BASES
from gateway.domain.keys import make_key
from gateway.domain.records import RequestRecord
from gateway.simulator.server import Simulator
from pricing.catalogue import load_catalogue, make_catalogue
from pricing.endpoint import Provider
from pricing.price import Price
from tests.api.edge import CHAT, Edge, chat_json, error_in, served
from tests.pipeline.rig import Offer, rig_on
from tests.routing.factories import (
    AT,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_policy,
    make_price,
)

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}


class TestAListedModel:
    def listed(self, *endpoints: Any) -> Any:
        (model,) = list_models(make_catalogue_of(*endpoints), make_caller(), AT).data
        return model

    def test_shows_the_price_of_its_cheapest_endpoint_exactly(self) -> None:
        model = self.listed(
            make_endpoint("dear", price=make_price("3", "15")),
            make_endpoint(
                "cheap",
                price=make_price(
                    "0.15",
                    "0.60",
                    cache_read_usd_per_mtok=Decimal("0.0375"),
                    request_usd=Decimal("0.005"),
                ),
                context_tokens=1000,
                max_output_tokens=50,
            ),
            make_endpoint("unpriced", price=None, context_tokens=5000),
        )

        assert msgspec.to_builtins(model.pricing) == {
            "prompt": "0.00000015",
            "completion": "0.0000006",
            "request": "0.005",
            "input_cache_read": "0.0000000375",
        }
        assert (model.top_provider.context_length, model.top_provider.max_completion_tokens) == (
            1000,
            50,
        )
        assert model.context_length == 5000

    def test_without_a_price_says_null_and_not_nothing(self) -> None:
        assert msgspec.to_builtins(self.listed(make_endpoint(price=None)).pricing) == {
            "prompt": None,
            "completion": None,
        }
        assert to_pricing(Price(version="v")).prompt is None

    def test_that_costs_nothing_says_so(self) -> None:
        assert self.listed(make_endpoint(price="0")).pricing.prompt == "0"

    def test_tells_what_goes_in_and_out_and_what_is_supported(self) -> None:
        model = self.listed(
            make_endpoint("a", capabilities={"tools": True, "temperature": False}),
            make_endpoint(
                "b",
                modalities_in=("text", "image", "pdf"),
                capabilities={"structured_outputs": True, "reasoning": True},
            ),
        )

        assert model.architecture.modality == "text+image+file->text"
        assert set(model.supported_parameters) == {
            "max_tokens",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "structured_outputs",
            "response_format",
            "reasoning",
            "include_reasoning",
            "reasoning_effort",
        } - {"tool_choice", "parallel_tool_calls"}

    def test_that_every_provider_withdrew_is_not_listed(self) -> None:
        endpoint = make_endpoint(retired_at=datetime(2026, 1, 1, tzinfo=UTC))

        assert list_models(make_catalogue_of(endpoint), make_caller(), AT).data == []

    def test_that_the_operator_switched_off_is_not_listed(self) -> None:
        off, on = make_endpoint("alpha", disabled_from=AT), make_endpoint("beta")
        (model,) = list_models(make_catalogue_of(off, on), make_caller(), AT).data

        assert model.providers == ("beta",)

    def test_keys_limit_providers_as_routing_does(self) -> None:
        catalogue = make_catalogue_of(make_endpoint("alpha"), make_endpoint("beta"))
        (model,) = list_models(catalogue, make_caller(allowed_providers=("ALP*",)), AT).data

        assert model.providers == ("alpha",)


def test_the_whole_catalogue_can_be_listed() -> None:
    models = list_models(load_catalogue(), make_caller(), datetime.now(UTC)).data

    assert len(models) > 1000
    for model in models:
        for amount in msgspec.to_builtins(model.pricing).values():
            assert amount is None or Decimal(amount) >= 0
            assert amount is None or "E" not in amount


def test_providers_are_named_with_the_source_of_their_policy() -> None:
    catalogue = make_catalogue(
        providers=[
            Provider(
                id="alpha", name="Alpha", data_policy=make_policy(), pricing_url="https://a/p"
            ),
            Provider(id="idle", name="Idle"),
        ],
        endpoints=[make_endpoint("alpha")],
        version="test",
    )
    (alpha,) = list_providers(catalogue, make_caller(), AT)

    assert (alpha.slug, alpha.name) == ("alpha", "Alpha")
    assert alpha.privacy_policy_url == "https://example.com/privacy"
    assert alpha.pricing_url == "https://a/p"
    assert list_providers(catalogue, make_caller(allowed_providers=("idle",)), AT) == []


async def get(edge: Edge, path: str) -> httpx.Response:
    async with edge.client() as client:
        return await client.get(path)


@pytest.mark.parametrize("base", BASES)
async def test_every_dialect_has_lists_and_single_models(edge: Edge, base: str) -> None:
    listed = (await get(edge, f"{base}/models")).json()
    one = await get(edge, f"{base}/models/acme/large")
    bare = await get(edge, f"{base}/models/large")
    endpoints = await get(edge, f"{base}/models/acme/large/endpoints")

    assert listed["object"] == "list"
    assert one.json() == bare.json() == listed["data"][0]
    assert endpoints.json()["data"]["id"] == "acme/large"


async def test_an_unknown_model_is_a_404_with_the_nearest_that_the_key_may_use(edge: Edge) -> None:
    narrow = make_key(lambda count: b"n" * count).text
    edge.let_in(narrow, allowed_models=("other/*",))
    for path in ("/v1/models/acme/larg", "/v1/models/acme/larg/endpoints"):
        answer = await get(edge, path)
        assert answer.status_code == 404
        error = error_in(answer.content)
        assert error["code"] == "model_not_found"
        assert error["metadata"]["nearest"] == ["acme/large"]
        assert "`acme/larg`" in error["message"]
    async with edge.client(**{"x-api-key": narrow}) as client:
        hidden = await client.get("/v1/models/acme/large")
    assert hidden.status_code == 404
    assert error_in(hidden.content)["metadata"]["nearest"] == []


async def test_endpoints_tell_what_was_seen_of_them(simulator: Simulator) -> None:
    offers = (Offer(do="500"), Offer(do="text=hello", capabilities={"tools": True}))
    async with rig_on(simulator, *offers) as rig, served(Edge(rig)) as edge:
        fresh = (await get(edge, "/api/v1/models/acme/large/endpoints")).json()["data"]
        async with edge.client() as client:
            body = chat_json(provider={"order": ["p1", "p2"]})
            await client.post(CHAT, content=body, headers=JSON)
        seen = (await get(edge, "/api/v1/models/acme/large/endpoints")).json()["data"]

    assert [one["uptime_last_30m"] for one in fresh["endpoints"]] == [None, None]
    broken, good = seen["endpoints"]
    assert (broken["status"], broken["uptime_last_30m"]) == (-1, 0.0)
    assert broken["latency_p50_ms"] is None
    assert (good["status"], good["uptime_last_30m"]) == (0, 100.0)
    assert good["latency_p50_ms"] > 0
    assert good["throughput_p50_tokens_per_s"] > 0
    assert (good["provider_name"], good["tag"]) == ("P2", "p2")
    assert good["name"] == "P2 | acme/large"
    assert good["supported_parameters"] == ["max_tokens", "tools"]
    assert good["pricing"] == {"prompt": "0.000001", "completion": "0.000002"}


async def test_counts_and_providers(edge: Edge) -> None:
    assert (await get(edge, "/api/v1/models/count")).json() == {"data": {"count": 1}}
    (provider,) = (await get(edge, "/api/v1/providers")).json()["data"]
    assert (provider["slug"], provider["name"]) == ("p1", "P1")


async def test_a_list_that_was_made_is_not_shown_to_a_key_with_other_rights(edge: Edge) -> None:
    other = make_key(lambda count: b"o" * count).text
    edge.let_in(other, allowed_models=("nobody/*",))
    everything = (await get(edge, "/v1/models")).json()["data"]
    async with edge.client(**{"x-api-key": other}) as client:
        nothing = (await client.get("/v1/models")).json()["data"]

    assert len(everything) == 1
    assert nothing == []


class TestTheDryRun:
    async def select(self, edge: Edge, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with edge.client() as client:
            return await client.post("/v1/select-model", content=content, headers=JSON)

    async def test_tells_who_would_serve_and_asks_nobody(self, simulator: Simulator) -> None:
        offers = (Offer(input_usd="5", output_usd="5"), Offer(), Offer(model="acme/small"))
        async with rig_on(simulator, *offers) as rig, served(Edge(rig)) as edge:
            answer = await self.select(
                edge,
                {
                    "models": ["acme/large", {"provider": "p3", "model_name": "acme/small"}],
                    "prompt": "Where does the toll road lead?",
                    "user": "me",
                    "cost_bias": 0.2,
                    "tool_call": {"name": "x"},
                    "provider": {"sort": "price"},
                },
            )
            chat = await self.select(edge, chat_json(provider={"sort": "price"}))
            records: list[RequestRecord] = rig.ledger.records

        assert answer.status_code == 200
        body = answer.json()
        assert (body["provider"], body["model"]) == ("p2", "acme/large")
        assert body["expected_cost_usd"] > 0
        assert [(one["provider"], one["model"]) for one in body["alternatives"]] == [
            ("p1", "acme/large"),
            ("p3", "acme/small"),
        ]
        assert body["strategy"] == "sort:price"
        assert (chat.json()["provider"], len(chat.json()["alternatives"])) == ("p2", 1)
        assert records == []
        assert list(simulator.ledger) == []

    async def test_says_who_was_left_out(self, edge: Edge) -> None:
        answer = await self.select(
            edge,
            {"models": ["acme/large"], "prompt": "x", "provider": {"max_price": {"prompt": 0}}},
        )

        assert answer.status_code == 404
        assert error_in(answer.content)["metadata"]["excluded_by"] == {"max_price": 1}

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            b"{}",
            b'{"prompt": 7}',
            b'{"prompt": "x", "models": [7]}',
            b'{"prompt": "x", "models": [{"model": "y"}]}',
            b'{"prompt": "x", "models": "y"}',
            b'{"prompt": "\xff"}',
            b'{"prompt": "\\ud800"}',
            b'{"prompt": "x", "tools": ' + b"[" * 5000,
        ],
    )
    async def test_refuses_what_it_cannot_read(self, edge: Edge, body: bytes) -> None:
        answer = await self.select(edge, body)

        assert answer.status_code == 400
        assert error_in(answer.content)["type"] == "invalid_request_error"

    async def test_needs_no_models_where_the_key_has_a_default(self, edge: Edge) -> None:
        edge.let_in(edge.key, default_model="acme/large")
        answer = await self.select(edge, {"prompt": "x"})

        assert (answer.status_code, answer.json()["model"]) == (200, "acme/large")


def test_a_release_date_is_a_time_in_utc() -> None:
    endpoint = make_endpoint(release_date=date(2026, 3, 1))

    assert list_models(make_catalogue_of(endpoint), make_caller(), AT).data[0].created == 1772323200
