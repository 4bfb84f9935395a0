"""Requests that bring address and credential along: where those go, and where they never do."""

import json
import logging
from typing import Any

import httpx
import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError, InvalidRequestError, ModelNotFoundError
from gateway.simulator.server import Simulator
from tests.execution.raw_server import Peer, serve
from tests.pipeline.rig import Offer, asked, chat_body, read_all, rig_on
from tests.routing.factories import make_caller

pytestmark = pytest.mark.anyio

OWN_KEY = "my-own-credential-canary-0042"


def origin_of(url: str) -> str:
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.host}:{parsed.port}"


def allowed(*origins: str) -> Caller:
    return make_caller(provider_configs_origins=origins)


def brought(simulator: Simulator, provider: str = "mine", **more: Any) -> dict[str, Any]:
    config = {"base_url": f"{simulator.base_url}/v1", "api_key": OWN_KEY}
    return {"provider": {}, "provider_configs": {provider: config | more}}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_nobody_knows_answers_with_the_callers_credential(
    simulator: Simulator, stream: bool
) -> None:
    caller = allowed(origin_of(simulator.base_url))
    async with rig_on(simulator, Offer()) as rig:
        wish = brought(simulator) | {"model": "mine/some-model"}
        if stream:
            answer = await rig.answer(caller=caller, stream=True, **wish)
            events = await read_all(answer)  # type: ignore[arg-type]
            usage = events[-2]["usage"]
        else:
            _, body = await rig.whole(caller=caller, **wish)
            assert (body["provider"], body["model"]) == ("mine", "mine/some-model")
            usage = body["usage"]

    (entry,) = asked(simulator)
    assert (entry.model, entry.credential_last4) == ("some-model", OWN_KEY[-4:])
    assert "provider_configs" not in json.dumps(entry.request)
    assert usage["is_byok"] is True
    assert (usage["cost_usd_total"], usage["cost_status"]) == (None, "unpriced")


async def test_an_enabled_provider_keeps_its_models_and_prices(simulator: Simulator) -> None:
    caller = allowed(origin_of(simulator.base_url))
    async with rig_on(simulator, Offer(), Offer(input_usd="0.1", output_usd="0.1")) as rig:
        config = {"p1": {"api_key": OWN_KEY}}
        _, body = await rig.whole(caller=caller, provider={}, provider_configs=config)

    assert body["provider"] == "p1"
    assert asked(simulator)[0].credential_last4 == OWN_KEY[-4:]
    usage = body["usage"]
    assert usage["cost_usd_total"] > 0
    assert usage["cost_details"]["upstream_inference_cost"] == usage["cost_usd_total"]
    assert usage["cost"] == 0


async def test_such_a_request_is_no_spending_of_the_operator(simulator: Simulator) -> None:
    caller = allowed(origin_of(simulator.base_url))
    async with rig_on(simulator, Offer()) as rig:
        await rig.whole(caller=caller, provider={}, provider_configs={"p1": {"api_key": OWN_KEY}})
        await rig.whole(caller=caller)
        theirs, ours = rig.ledger.records
        begun = rig.ledger.begun

    assert (theirs.is_paid_by_caller, ours.is_paid_by_caller) == (True, False)
    assert [one.is_paid_by_caller for one in begun] == [True, False]
    assert theirs.cost_usd == ours.cost_usd, "what it costs is told all the same"


async def test_nobody_else_serves_such_a_request(simulator: Simulator) -> None:
    caller = allowed(origin_of(simulator.base_url))
    async with rig_on(simulator, Offer(do="500"), Offer()) as rig:
        config = {"p1": {"api_key": OWN_KEY}}
        with pytest.raises(GatewayError) as caught:
            await rig.whole(caller=caller, provider={}, provider_configs=config)

    assert caught.value.status == 502
    assert {entry.credential_last4 for entry in asked(simulator)} == {OWN_KEY[-4:]}


async def test_what_happens_there_says_nothing_of_the_operators_endpoints(
    simulator: Simulator,
) -> None:
    caller = allowed(origin_of(simulator.base_url))
    async with rig_on(simulator, Offer(), Offer()) as rig:
        config = {"p1": {"base_url": f"{simulator.base_url}/v1", "api_key": OWN_KEY}}
        for _ in range(12):
            with pytest.raises(GatewayError):
                await rig.whole(
                    caller=caller, provider={}, provider_configs=config, model="p1/large!401"
                )
        assert rig.health.view(0.0) == {}
        _, body = await rig.whole()

    assert body["provider"] == "p1"


async def test_without_leave_such_a_request_is_refused(simulator: Simulator) -> None:
    body = json.dumps(chat_body(**brought(simulator))).encode()
    with pytest.raises(InvalidRequestError) as caught:
        decode_chat_request(body, dialect=Dialect.OPENAI)
    assert (caught.value.status, caught.value.param) == (400, "provider_configs")

    async with rig_on(simulator, Offer()) as rig:
        with pytest.raises(InvalidRequestError) as caught:
            await rig.whole(**brought(simulator), model="mine/some-model")

    assert caught.value.param == "provider_configs"
    assert not asked(simulator)
    assert not rig.ledger.records


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        ("https://api.elsewhere.example/v1", "is not among the origins"),
        ("https://api.allowed.example.evil.example/v1", "is not among the origins"),
        ("https://api.allowed.example:8443/v1", "is not among the origins"),
        ("https://api.allowed.example@evil.example/v1", "without user"),
        ("https://user:word@api.allowed.example/v1", "without user"),
        ("https://api.allowed.example/v1?key=1", "without user, query"),
        ("http://api.allowed.example/v1", "must begin with https://"),
        ("http://169.254.169.254/latest", "must begin with https://"),
        ("file:///etc/passwd", "without user"),
        ("https://[::1", "is no address"),
    ],
)
async def test_a_credential_goes_to_no_origin_that_the_operator_did_not_allow(
    simulator: Simulator, base_url: str, why: str
) -> None:
    caller = allowed("https://api.allowed.example", "http://169.254.169.254")
    async with rig_on(simulator, Offer()) as rig:
        with pytest.raises(InvalidRequestError) as caught:
            await rig.whole(
                caller=caller, **brought(simulator, base_url=base_url), model="mine/some-model"
            )

    assert caught.value.param == "provider_configs.mine.base_url"
    assert why in caught.value.message
    assert OWN_KEY not in caught.value.message
    assert "word" not in caught.value.message


async def test_an_allowed_name_on_a_private_address_is_not_reached(simulator: Simulator) -> None:
    caller = allowed("https://127.0.0.1:9")
    async with rig_on(simulator, Offer()) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.whole(
                caller=caller,
                **brought(simulator, base_url="https://127.0.0.1:9/v1"),
                model="mine/some-model",
            )

    assert caught.value.status == 502


async def test_the_model_must_be_one_of_theirs(simulator: Simulator) -> None:
    caller = allowed(origin_of(simulator.base_url))
    async with rig_on(simulator, Offer()) as rig:
        with pytest.raises(ModelNotFoundError) as caught:
            await rig.whole(caller=caller, **brought(simulator))

    assert "name the model as `provider/model`" in caught.value.message
    assert rig.ledger.only.status_code == 404


@pytest.mark.parametrize(
    ("config", "header"),
    [
        ({"api_key": "k-1"}, b"Authorization: Bearer k-1"),
        ({"api_key": "k-1", "auth_type": "bearer"}, b"Authorization: Bearer k-1"),
        ({"api_key": "k-1", "auth_type": "api_key"}, b"X-API-Key: k-1"),
        ({"api_key": "u:p", "auth_type": "basic"}, b"Authorization: Basic dTpw"),
        (
            {"api_key": "k-1", "auth_type": "custom", "auth_header_name": "api-key"},
            b"api-key: k-1",
        ),
        ({"headers": {"OpenAI-Organization": "org-1"}}, b"OpenAI-Organization: org-1"),
    ],
)
async def test_a_credential_is_sent_as_the_request_says(
    simulator: Simulator, config: dict[str, Any], header: bytes
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.read_request())
        message = "no such key: " + config.get("api_key", "")
        body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await peer.say(head + body)

    async with serve(script) as server, rig_on(simulator, Offer(base_url=str(server.url))) as rig:
        base_url = str(server.url.copy_with(path="/v1"))
        with pytest.raises(GatewayError) as caught:
            await rig.whole(
                caller=allowed(origin_of(base_url)),
                provider={},
                model="mine/some-model",
                provider_configs={"mine": {"base_url": base_url} | config},
            )

    assert header.lower() in seen[0].lower().split(b"\r\n"), seen[0]
    assert seen[0].lower().count(b"authorization:") <= 1
    assert caught.value.status == 400


async def test_a_credential_that_is_said_back_is_neither_recorded_nor_logged(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        body = json.dumps({"error": {"message": f"bad: {OWN_KEY}", "code": OWN_KEY}}).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await peer.say(head + body)

    caplog.set_level(logging.DEBUG)
    async with serve(script) as server, rig_on(simulator, Offer(base_url=str(server.url))) as rig:
        base_url = str(server.url.copy_with(path="/v1"))
        wish = brought(simulator, base_url=base_url) | {"model": "mine/some-model"}
        with pytest.raises(GatewayError) as caught:
            await rig.whole(caller=allowed(origin_of(base_url)), **wish)

    assert OWN_KEY not in caught.value.message + json.dumps(caught.value.metadata)
    assert OWN_KEY not in repr(rig.ledger.records)
    assert OWN_KEY not in caplog.text
    assert rig.ledger.only.plan["provider_configs"] == ["mine"]


async def test_a_credential_is_in_no_echo(simulator: Simulator) -> None:
    caller = allowed(origin_of(simulator.base_url))
    wish = brought(simulator) | {"model": "mine/m", "debug": {"echo_upstream_body": True}}
    async with rig_on(simulator, Offer()) as rig:
        answer = await rig.answer(caller=caller, stream=True, **wish)
        events = await read_all(answer)  # type: ignore[arg-type]

    assert OWN_KEY not in json.dumps(events)


async def test_time_is_bounded_by_what_the_request_says(simulator: Simulator) -> None:
    caller = allowed(origin_of(simulator.base_url))
    async with rig_on(simulator, Offer()) as rig:
        wish = brought(simulator, timeout_ms=1_000) | {"model": "mine/m!hang"}
        with pytest.raises(GatewayError) as caught:
            await rig.whole(caller=caller, **wish)

    assert caught.value.status == 504
    assert "within 1 s" in caught.value.message


@pytest.mark.parametrize(
    ("config", "param"),
    [
        ({"base_url": 1}, "provider_configs.mine.base_url"),
        ({"api_key": "a\r\nHost: evil"}, "provider_configs.mine.api_key"),
        ({"auth_type": "none"}, "provider_configs.mine.auth_type"),
        ({"api_key": "k", "auth_type": "custom"}, "provider_configs.mine.auth_header_name"),
        ({"api_key": "k", "auth_type": "basic"}, "provider_configs.mine.api_key"),
        ({"auth_type": "bearer"}, "provider_configs.mine.api_key"),
        (
            {"api_key": "k", "auth_type": "custom", "auth_header_name": "Host"},
            "provider_configs.mine.auth_header_name",
        ),
        ({"headers": {"Host": "evil"}}, "provider_configs.mine.headers.Host"),
        ({"headers": {"Connection": "close"}}, "provider_configs.mine.headers.Connection"),
        (
            {"headers": {"Transfer-Encoding": "chunked"}},
            "provider_configs.mine.headers.Transfer-Encoding",
        ),
        (
            {"headers": {"X-Google-Metadata-Request": "True"}},
            "provider_configs.mine.headers.X-Google-Metadata-Request",
        ),
        ({"headers": {"x-a": "b\r\nc: d"}}, "provider_configs.mine.headers.x-a"),
        ({"timeout_ms": 999}, "provider_configs.mine.timeout_ms"),
        ({"timeout_ms": 120_001}, "provider_configs.mine.timeout_ms"),
        ({"organization": "x"}, "provider_configs.mine"),
    ],
)
def test_what_may_not_be_sent_along_is_refused_by_its_place(
    config: dict[str, Any], param: str
) -> None:
    body = json.dumps(chat_body(provider_configs={"mine": config})).encode()
    with pytest.raises(InvalidRequestError) as caught:
        decode_chat_request(body, dialect=Dialect.OPENAI, allows_own_providers=True)

    assert caught.value.param == param
    assert "evil" not in caught.value.message


def test_settings_without_effect_are_told_and_nothing_is_shown() -> None:
    configs = {"xAI": {"api_key": OWN_KEY, "rate_limit_rpm": 5, "health_endpoint": "/health"}}
    body = json.dumps(chat_body(provider_configs=configs)).encode()
    request = decode_chat_request(body, dialect=Dialect.OPENAI, allows_own_providers=True)

    (config,) = request.provider_configs
    assert config.provider == "x-ai"
    assert request.warnings == (
        "`rate_limit_rpm`, `health_endpoint` in `provider_configs.x-ai` has no effect here",
    )
    assert "provider_configs" not in request.body
    assert OWN_KEY not in repr(request)
