"""Webhooks from a notice in Postgres to a receiver on this machine, which checks the signature."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from anyio.to_thread import run_sync as in_thread
from sqlalchemy import select, update

import migrations
from gateway.domain.notices import Event
from gateway.domain.wishes import WishError
from gateway.execution.egress import make_policy
from gateway.execution.health_events import HealthEvents
from gateway.execution.transport import AiohttpTransport
from gateway.notices.sender import Sender, pause_before_next_s
from gateway.notices.sending import Courier, trial_event
from gateway.notices.signing import secret_of, sign
from gateway.notices.watching import NoticeWatch, Unpriced
from gateway.storage.asking import Asker
from gateway.storage.notices import add_notice
from gateway.storage.tables import notice, webhook_delivery
from gateway.storage.webhooks import (
    MOST_WAITING,
    StoredWebhook,
    add_webhook,
    delete_webhook,
    fan_out,
    read_states,
    take_due,
    tell,
)
from tests.api.edge import NO_DATABASE

pytestmark = pytest.mark.anyio

PEPPER = b"pepper"


class Receiver:
    """An HTTP server that answers as told and keeps what it got."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.arrived = asyncio.Condition()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
            pairs = (line.partition(": ") for line in head if line)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            status = self.statuses.pop(0) if self.statuses else 204
            extra = b"Location: http://127.0.0.1:1/\r\n" if status == 302 else b""
            writer.write(
                b"HTTP/1.1 %d X\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n"
                % (status, extra)
            )
            await writer.drain()
            async with self.arrived:
                self.got.append((headers, body))
                self.arrived.notify_all()
        finally:
            writer.close()


@pytest.fixture
async def receiver(anyio_backend: str) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()
    await server.wait_closed()


@pytest.fixture
async def ask(anyio_backend: str, postgres_dsn: Callable[..., str]) -> AsyncIterator[Asker]:
    dsn = postgres_dsn()
    await in_thread(migrations.upgrade, dsn)
    asker = Asker(dsn, within_s=10.0, application_name="tests")
    yield asker
    await asker.aclose()


@pytest.fixture
async def courier(receiver: Receiver) -> AsyncIterator[Courier]:
    origin = f"http://127.0.0.1:{receiver.port}"
    courier = Courier(
        AiohttpTransport(policy=make_policy([origin])),
        PEPPER,
        private_origins=frozenset({("127.0.0.1", receiver.port)}),
    )
    yield courier
    await courier.aclose()


@asynccontextmanager
async def sending(ask: Asker, courier: Courier) -> AsyncGenerator[Sender]:
    sender = Sender(ask, courier, poll_s=0.01)
    task = asyncio.create_task(sender.run())
    yield sender
    task.cancel()
    await asyncio.wait([task])


async def make_hook(ask: Asker, url: str, *kinds: str) -> StoredWebhook:
    at = datetime.now(UTC) - timedelta(seconds=1)
    return await ask(lambda c: add_webhook(c, url=url, kinds=kinds, at=at, actor="tests"))


async def give_notice(ask: Asker, kind: str = "budget_threshold", subject: str = "b") -> int:
    return await ask(lambda c: add_notice(c, kind=kind, subject=subject, details={"percent": 80}))


async def state_after(ask: Asker, is_there: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(10):
        while True:
            rows = await ask(lambda c: c.execute(select(webhook_delivery)))
            found = rows.mappings().all()
            if found and all(map(is_there, found)):
                return found
            await asyncio.sleep(0.01)


def verified(headers: dict[str, str], body: bytes, secret: str) -> Any:
    """As docs/admin.md tells receivers to do it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [one.removeprefix("v1,") for one in headers["webhook-signature"].split()]
    assert any(hmac.compare_digest(expected, one) for one in given)
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return json.loads(body)


def test_a_signature_is_that_of_the_published_specification() -> None:
    # https://github.com/standard-webhooks/standard-webhooks: the example of its libraries' tests.
    headers = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        event_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        unix_s=1614265330,
        body=b'{"test": 2432232314}',
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_differ_by_webhook_and_installation() -> None:
    one, other = UUID(int=1), UUID(int=2)

    assert len({secret_of(one, b"a"), secret_of(other, b"a"), secret_of(one, b"b")}) == 3


async def test_a_notice_reaches_every_webhook_that_wants_it_once_and_signed(
    ask: Asker, courier: Courier, receiver: Receiver
) -> None:
    wants = await make_hook(ask, receiver.url, "budget_threshold", "provider_down")
    await make_hook(ask, receiver.url, "spool_lag")
    everything = await make_hook(ask, receiver.url)
    number = await give_notice(ask)

    async with sending(ask, courier):
        await receiver.wait_for(2)
        rows = await state_after(ask, lambda row: row["delivered_at"] is not None)

    assert {row["webhook_id"] for row in rows} == {wants.id, everything.id}
    assert len(receiver.got) == 2
    opened: list[Any] = []
    for headers, body in receiver.got:
        for hook in (wants, everything):
            try:
                opened.append(verified(headers, body, courier.secret(hook.id)))
            except AssertionError:
                continue
    assert len(opened) == 2
    at = opened[0].pop("at")
    assert datetime.fromisoformat(at).tzinfo is not None
    assert opened[0] == {
        "id": f"evt_{number}",
        "type": "budget_threshold",
        "subject": "b",
        "details": {"percent": 80},
    }


async def test_what_a_receiver_refuses_is_sent_again_with_the_same_id(
    ask: Asker, courier: Courier, receiver: Receiver
) -> None:
    await make_hook(ask, receiver.url)
    await give_notice(ask)
    receiver.statuses = [500, 302]

    async with sending(ask, courier):
        for tries in (1, 2):
            await receiver.wait_for(tries)
            rows = await state_after(
                ask, lambda row, tries=tries: row["tries"] == tries and row["problem"] is not None
            )
            assert rows[0]["status_code"] == (500, 302)[tries - 1]
            assert rows[0]["next_try_at"] > datetime.now(UTC)
            (state,) = await ask(read_states)
            assert "it answered with HTTP" in str(state.last_problem)
            await ask(
                lambda c: c.execute(
                    update(webhook_delivery).values(next_try_at=datetime.now(UTC), problem=None)
                )
            )
        await receiver.wait_for(3)
        await state_after(ask, lambda row: row["delivered_at"] is not None)

    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    (state,) = await ask(read_states)
    assert (state.waiting, state.last_problem) == (0, None)


async def test_after_a_day_or_410_nothing_is_sent_any_more(
    ask: Asker, courier: Courier, receiver: Receiver
) -> None:
    await make_hook(ask, receiver.url)
    await give_notice(ask, subject="gone")
    receiver.statuses = [410]
    async with sending(ask, courier):
        await state_after(ask, lambda row: row["gave_up_at"] is not None)

    await ask(lambda c: c.execute(update(webhook_delivery).values(gave_up_at=None)))
    old = datetime.now(UTC) - timedelta(hours=25)
    await ask(lambda c: c.execute(update(webhook_delivery).values(created_at=old, next_try_at=old)))
    receiver.statuses = [500]
    async with sending(ask, courier):
        await state_after(ask, lambda row: row["gave_up_at"] is not None)
    assert len(receiver.got) == 2


async def test_two_nodes_never_take_the_same_delivery(ask: Asker, receiver: Receiver) -> None:
    await make_hook(ask, receiver.url)
    for number in range(20):
        await give_notice(ask, subject=str(number))
    await ask(fan_out)
    await ask(fan_out)

    taken = await asyncio.gather(*(ask(lambda c: take_due(c, most=8)) for _ in range(6)))

    ids = [one.id for some in taken for one in some]
    assert len(ids) == len(set(ids)) == 20


async def test_what_waits_for_a_webhook_is_bounded(ask: Asker, receiver: Receiver) -> None:
    await make_hook(ask, receiver.url)
    rows: list[dict[str, Any]] = [
        {"at": datetime.now(UTC), "kind": "test", "subject": str(number), "details": {}}
        for number in range(MOST_WAITING + 5)
    ]
    await ask(lambda c: c.execute(notice.insert(), rows))

    await ask(fan_out)

    (state,) = await ask(read_states)
    assert state.waiting == MOST_WAITING


async def test_a_webhook_that_is_deleted_takes_its_deliveries_along(
    ask: Asker, receiver: Receiver
) -> None:
    hook = await make_hook(ask, receiver.url)
    await give_notice(ask)
    await ask(fan_out)

    await ask(lambda c: delete_webhook(c, hook.id, at=datetime.now(UTC), actor="tests"))

    assert await ask(lambda c: take_due(c, most=8)) == []


async def test_without_postgres_what_was_known_is_told_from_memory(
    ask: Asker, courier: Courier, receiver: Receiver
) -> None:
    await make_hook(ask, receiver.url, "spool_lag")
    await give_notice(ask, kind="spool_lag", subject="first")
    away = Asker(NO_DATABASE, within_s=0.2, application_name="tests")
    async with sending(ask, courier) as sender:
        await receiver.wait_for(1)
        watch = NoticeWatch(
            away,
            health_since=lambda _: [],
            unpriced=Unpriced(),
            spool_age_s=lambda: 90.0,
            node="node-1",
            tell_without_database=sender.send_from_memory,
            look_s=0.01,
        )
        task = asyncio.create_task(watch.run())
        await receiver.wait_for(2)
        task.cancel()
        await asyncio.wait([task])
    await away.aclose()

    event = json.loads(receiver.got[1][1])
    assert (event["type"], event["subject"]) == ("spool_lag", "node-1")
    assert event["details"] == {"oldest_unshipped_s": 90.0}


async def test_a_provider_that_is_out_is_told_of_once_and_an_endpoint_is_not(ask: Asker) -> None:
    events = HealthEvents()
    watch = NoticeWatch(
        ask,
        health_since=events.since,
        unpriced=Unpriced(),
        spool_age_s=lambda: 0.0,
        node="node-1",
        tell_without_database=None,
        look_s=0.01,
    )
    events.note("target:acme/one", "opened", outcome="server_error", for_s=10)
    for _ in range(3):
        events.note("origin:acme", "opened", outcome="connect", for_s=10)
    events.note("credential:acme#0", "credential out", outcome="auth", for_s=600)

    task = asyncio.create_task(watch.run())
    rows: list[Any] = []
    async with asyncio.timeout(10):
        while len(rows) < 2:
            rows = list((await ask(lambda c: c.execute(select(notice)))).mappings())
    task.cancel()
    await asyncio.wait([task])

    assert [(row["kind"], row["subject"]) for row in rows] == [
        ("provider_down", "origin:acme"),
        ("provider_down", "credential:acme#0"),
    ]
    assert rows[0]["details"] == {"change": "opened", "outcome": "connect", "for_s": 10.0}


async def test_the_same_is_told_again_only_after_a_while(ask: Asker) -> None:
    async def told(apart: timedelta) -> bool:
        return await ask(
            lambda c: tell(c, kind="provider_down", subject="origin:a", details={}, apart=apart)
        )

    assert await told(timedelta(minutes=15))
    assert not await told(timedelta(minutes=15))
    assert await told(timedelta(0))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/hook", "give an https address"),
        ("ftp://example.com/", "give an https address"),
        ("https://user:word@example.com/", "without user name"),
        ("https://example.com/#x", "without user name"),
        ("https://", "give https://host/path"),
        ("nonsense", "give https://host/path"),
        ("https://[::1", "is not an address"),
    ],
)
async def test_an_address_that_cannot_be_is_refused(courier: Courier, url: str, words: str) -> None:
    with pytest.raises(WishError, match="url: ") as refused:
        courier.check(url)
    assert words in str(refused.value)


async def test_private_addresses_are_out_of_reach_unless_allowed(receiver: Receiver) -> None:
    guarded = Courier(AiohttpTransport(), PEPPER)

    outcome = await guarded.send(UUID(int=1), receiver.url, trial_event())
    await guarded.aclose()

    assert not outcome.is_delivered
    assert "private or reserved" in str(outcome.problem)
    assert receiver.got == []


async def test_a_receiver_that_is_away_is_an_outcome_and_no_secret_is_in_it(
    courier: Courier, receiver: Receiver
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(503))
    outcome = await Courier(transport, PEPPER).send(UUID(int=1), receiver.url, trial_event())

    assert (outcome.is_delivered, outcome.status_code) == (False, 503)
    assert courier.secret(UUID(int=1)) not in repr((outcome, courier))


def test_pauses_double_up_to_an_hour_and_spread() -> None:
    assert [pause_before_next_s(tries, 0.0) for tries in (1, 2, 3, 9, 10, 50)] == [
        10.0, 20.0, 40.0, 2560.0, 3600.0, 3600.0,
    ]  # fmt: skip
    assert pause_before_next_s(1, 0.999) < 12.0


def test_an_event_tells_nothing_but_what_it_holds() -> None:
    assert set(Event.__struct_fields__) == {"id", "type", "at", "subject", "details"}
