"""Runner and pipeline on simulated providers, put together by hand, with all they tell at hand."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from gateway.answers import StreamedAnswer, WholeAnswer
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.caller import Caller
from gateway.domain.interruption import Interruption
from gateway.domain.records import AttemptBegun, LateAttempts, RequestRecord
from gateway.execution.access import AccessBook, ProviderAccess
from gateway.execution.course import Advice
from gateway.execution.deadlines import Deadlines
from gateway.execution.egress import make_policy
from gateway.execution.experience import Experience
from gateway.execution.health import HealthBoard
from gateway.execution.media import MediaFetcher
from gateway.execution.own_access import OwnAccess
from gateway.execution.retry_budget import RetryBudget
from gateway.execution.runner import Limits, Runner, Served
from gateway.execution.shadow import Shadows
from gateway.execution.transport import AiohttpTransport
from gateway.execution.upstream import Upstream
from gateway.gathering import Policy
from gateway.pipeline import Pipeline
from gateway.providers.base import Quirks
from gateway.providers.registry import adapter_for
from gateway.routing.plan import Candidate
from gateway.routing.rules.rule_set import compile_rules
from gateway.simulator.ledger import LedgerEntry
from gateway.simulator.server import Simulator
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from pricing.catalogue import Catalogue
from pricing.endpoint import Endpoint
from pricing.price import resolve
from tests.routing.factories import make_caller, make_catalogue_of, make_endpoint, make_price

SECRET = "sk-provider-0123456789abcdefghijkl"
QUICK = Deadlines(
    connect_s=2.0,
    first_token_s=0.3,
    first_token_reasoning_s=0.3,
    whole_answer_s=0.3,
    idle_s=0.3,
    ping_grace_s=0.3,
)
"""For providers that fall silent; others answer at once."""
PATIENT = Deadlines()
STAND_INS = {
    "openai": "/v1",
    "anthropic": "/anthropic/v1",
    "gemini": "/gemini/v1beta",
    "bedrock": "/bedrock",
}
"""By protocol, where the simulator speaks it for any model."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of a provider of its own: how it behaves, and where it is."""

    do: str = ""
    """A behaviour of the simulator; empty is a good answer."""
    model: str = "acme/large"
    base_url: str | None = None
    """None is the simulator."""
    input_usd: str = "1"
    output_usd: str = "2"
    secret: str = SECRET
    capabilities: dict[str, bool] = {}
    quirks: Quirks = Quirks()
    deadlines: Deadlines | None = None
    drains_on_disconnect: bool = False
    further_secrets: tuple[str, ...] = ()
    protocol: str = "openai"
    like: Endpoint | None = None
    """An endpoint whose facts and prices this one has."""


class MemoryLedger:
    """A ledger that forgets with the process."""

    def __init__(self) -> None:
        self.is_writable = True
        self.begun: list[AttemptBegun] = []
        self.records: list[RequestRecord] = []
        self.late: list[LateAttempts] = []

    def append_begun(self, begun: AttemptBegun) -> None:
        self.begun.append(begun)

    def append_record(self, record: RequestRecord) -> None:
        self.records.append(record)

    def append_late(self, late: LateAttempts) -> None:
        self.late.append(late)

    @property
    def only(self) -> RequestRecord:
        """The one record there is."""
        (record,) = self.records
        return record


def chat_body(**members: Any) -> dict[str, Any]:
    return {
        "model": "acme/large",
        "messages": [{"role": "user", "content": "Where does the toll road lead?"}],
    } | members


def chat_request(dialect: Dialect = Dialect.OPENAI, **members: Any) -> ChatRequest:
    body = json.dumps(chat_body(**members)).encode()
    return decode_chat_request(
        body, dialect=dialect, headers={}, allows_own_providers="provider_configs" in members
    )


def endpoint_like(endpoint: Endpoint, provider: str, offer: Offer) -> Endpoint:
    """The same offer by another provider, as asked; it outlives the one that is shipped."""
    native = f"{endpoint.provider_model}!{offer.do}" if offer.do else endpoint.provider_model
    return msgspec.structs.replace(
        endpoint,
        id=f"{provider}/{native}",
        provider=provider,
        provider_model=native,
        model=offer.model,
        retired_at=None,
    )


class Rig:
    """Endpoints ``p1``, ``p2`` … in the order of the offers, tried in that order by ``run``."""

    def __init__(
        self,
        *offers: Offer,
        simulated_url: str,
        transport: httpx.AsyncBaseTransport,
        deadlines: Deadlines,
        limits: Limits,
        chance: Callable[[], float],
        advice: Advice | None = None,
        budget: RetryBudget | None = None,
        rules: str = "",
        shadows_most: int = 20,
        media: MediaFetcher | None = None,
        board: HealthBoard | None = None,
    ) -> None:
        self.starts: list[AttemptStart] = []
        self.ends: list[AttemptEnd] = []
        self.ledger = MemoryLedger()
        self.health = board or HealthBoard()
        self.interruption = Interruption()
        self.endpoints: list[Endpoint] = []
        providers: dict[str, ProviderAccess] = {}
        for number, offer in enumerate(offers, start=1):
            slug = offer.model.rpartition("/")[2]
            provider = f"p{number}"
            self.endpoints.append(
                endpoint_like(offer.like, provider, offer)
                if offer.like is not None
                else make_endpoint(
                    provider,
                    offer.model,
                    f"{slug}!{offer.do}" if offer.do else slug,
                    make_price(offer.input_usd, offer.output_usd),
                    capabilities=offer.capabilities,
                )
            )
            providers[provider] = ProviderAccess(
                id=provider,
                base_url=offer.base_url or f"{simulated_url}{STAND_INS[offer.protocol]}",
                adapter=adapter_for(offer.protocol),
                quirks=offer.quirks,
                transport=transport,
                secret=offer.secret,
                further_secrets=offer.further_secrets,
                deadlines=offer.deadlines or deadlines,
                drains_on_disconnect=offer.drains_on_disconnect,
            )
        self.catalogue: Catalogue = make_catalogue_of(*self.endpoints)
        self.snapshots = SnapshotHolder(
            Snapshot(catalogue=self.catalogue, rules=compile_rules(rules, source="rules"))
        )
        self.providers = providers
        self.access = AccessBook(providers)
        upstream = Upstream(media)
        self.shadows = Shadows(upstream, most=shadows_most, total_s=limits.total_s)
        self.runner = Runner(
            upstream, limits, advice=advice or self.health, budget=budget, chance=chance
        )
        own_access = OwnAccess(
            providers,
            transport=transport,
            policy=make_policy([simulated_url, *(o.base_url for o in offers if o.base_url)]),
            deadlines=deadlines,
            user_agent="tollway",
        )
        self.experience = Experience()
        self.pipeline = Pipeline(
            own_access=own_access,
            experience=self.experience,
            snapshots=self.snapshots,
            runner=self.runner,
            access_of=self.access,
            health=self.health,
            ledger=self.ledger,
            shadows=self.shadows,
            policy=Policy(
                slash_pins_provider=True,
                expected_output_tokens=100,
                code_version="test",
                fetches_media=media is not None,
            ),
        )

    @property
    def candidates(self) -> list[Candidate]:
        at = datetime.now(UTC)
        return [
            Candidate(
                endpoint=endpoint,
                price=resolve(endpoint, at=at, prompt_tokens=100),
                expected_cost_usd=None,
            )
            for endpoint in self.endpoints
        ]

    async def run(self, **members: Any) -> Served:
        """The attempt loop alone."""
        return await self.runner.run(
            chat_request(**members),
            self.candidates,
            self.access,
            on_start=self.starts.append,
            on_end=self.ends.append,
            interruption=self.interruption,
        )

    async def answer(
        self, *, caller: Caller | None = None, **members: Any
    ) -> WholeAnswer | StreamedAnswer:
        """A request through the whole pipeline; endpoints are tried in the offers' order."""
        order = [endpoint.provider for endpoint in self.endpoints]
        asked: dict[str, Any] = {"provider": {"order": order}} | members
        return await self.pipeline.answer(
            chat_request(**asked), caller or make_caller(), self.interruption
        )

    async def whole(self, **members: Any) -> tuple[WholeAnswer, dict[str, Any]]:
        answer = await self.answer(**members)
        assert isinstance(answer, WholeAnswer)
        return answer, json.loads(answer.body)

    async def stream(self, **members: Any) -> StreamedAnswer:
        answer = await self.answer(stream=True, **members)
        assert isinstance(answer, StreamedAnswer)
        return answer

    def told(self) -> list[tuple[str, int]]:
        """Outcome and status of every attempt that has ended."""
        return [(end.outcome.value, end.status_code) for end in self.ends]


@asynccontextmanager
async def rig_on(
    simulator: Simulator | None,
    *offers: Offer,
    transport: httpx.AsyncBaseTransport | None = None,
    deadlines: Deadlines = PATIENT,
    max_attempts: int = 3,
    total_s: float = 30.0,
    chance: Callable[[], float] = lambda: 0.0,
    hedge_after_s: float | None = None,
    advice: Advice | None = None,
    budget: RetryBudget | None = None,
    rules: str = "",
    shadows_most: int = 20,
    media: MediaFetcher | None = None,
    board: HealthBoard | None = None,
) -> AsyncGenerator[Rig]:
    simulated_url = simulator.base_url if simulator is not None else "http://127.0.0.1:9"
    urls = [simulated_url, *(offer.base_url for offer in offers if offer.base_url)]
    used = transport or AiohttpTransport(policy=make_policy(urls))
    try:
        rig = Rig(
            *offers,
            simulated_url=simulated_url,
            transport=used,
            deadlines=deadlines,
            limits=Limits(max_attempts=max_attempts, total_s=total_s, hedge_after_s=hedge_after_s),
            chance=chance,
            advice=advice,
            budget=budget,
            rules=rules,
            shadows_most=shadows_most,
            media=media,
            board=board,
        )
        yield rig
        await rig.shadows.aclose(within_s=0)
    finally:
        await used.aclose()


class DeadPort:
    """A port that refuses connections for as long as this lives: bound, and nobody listens."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def close(self) -> None:
        self._socket.close()


def events_of(data: bytes) -> list[Any]:
    """The events of a stream; the closing ``[DONE]`` is that text."""
    payloads = [line.removeprefix("data: ") for line in data.decode().split("\n\n") if line]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


async def read_all(answer: StreamedAnswer) -> list[Any]:
    return events_of(b"".join([data async for data in answer.events]))


def text_of(events: Sequence[Any]) -> str:
    """What the stream said, put together."""
    return "".join(
        choice["delta"].get("content") or ""
        for event in events
        if event != "[DONE]"
        for choice in event["choices"]
    )


async def until(condition: Callable[[], object], *, within_s: float = 5.0) -> None:
    """Wait for something that happens elsewhere."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - nobody announces what tests look for
            await asyncio.sleep(0.002)


def asked(simulator: Simulator) -> list[LedgerEntry]:
    return list(simulator.ledger)
