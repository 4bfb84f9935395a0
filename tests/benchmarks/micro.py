"""Times single calls on the request path; add yours to ``CALLS``."""

import atexit
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec

from gateway.chat.answer import ChunkFrame, render_completion
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.chat.routing_report import make_metadata, render_metadata
from gateway.chat.usage_report import render_usage
from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.budgets import SINCE_EVER, Budget
from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import Outcome
from gateway.execution.access import AccessBook, ProviderAccess
from gateway.execution.attempt import Attempt
from gateway.execution.aws_signing import AwsCredential, make_signer
from gateway.execution.deadlines import Deadlines
from gateway.execution.experience import Experience
from gateway.execution.health import HealthBoard
from gateway.execution.runner import Limits, Runner
from gateway.execution.shared_health import open_table
from gateway.execution.upstream import Access, Upstream
from gateway.ledger.budget_bounds import BoundRules
from gateway.ledger.limit_table import open_limits
from gateway.ledger.limits import Limiter
from gateway.ledger.purse import Purse
from gateway.ledger.spool import Spool
from gateway.ledger.toll import Tollbooth
from gateway.metrics.tally import Tally
from gateway.providers.base import Completion, Quirks, Target, UpstreamRequest
from gateway.providers.openai_stream import OpenAIStreamDecoder
from gateway.providers.registry import adapter_for
from gateway.routing.engine import make_plan
from gateway.routing.record import compact
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import compile_rules
from gateway.simulator.bedrock_frames import message as binary_message
from pricing.catalogue import load_catalogue
from pricing.cost import compute_cost
from pricing.endpoint import Endpoint
from pricing.price import resolve
from pricing.usage import Usage
from tests.execution.samples import make_end
from tests.ledger.samples import make_begun
from tests.routing.factories import (
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_price,
    make_request,
)
from tests.storage.samples import make_attempt, make_record

REPEATS = 41
_BATCH_S = 0.004


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The median over repeated batches of one call."""

    name: str
    median_us: float


Prepare = Callable[[], Callable[[], object]]
"""Builds the inputs, and returns the call that is timed."""

_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
_USAGE = Usage(
    input_tokens=1_200, cache_read_tokens=8_000, output_tokens=450, reasoning_tokens=200, requests=1
)


def _resolve() -> Callable[[], object]:
    endpoint = _tiered_endpoint()
    return lambda: resolve(endpoint, at=_AT, prompt_tokens=9_200)


def _resolve_long() -> Callable[[], object]:
    endpoint = _tiered_endpoint()
    return lambda: resolve(endpoint, at=_AT, prompt_tokens=250_000, service_tier="flex")


def _compute_cost() -> Callable[[], object]:
    price = resolve(_tiered_endpoint(), at=_AT, prompt_tokens=_USAGE.prompt_tokens)
    return lambda: compute_cost(_USAGE, price)


def _tiered_endpoint() -> Endpoint:
    return next(
        endpoint
        for endpoint in load_catalogue().endpoints_by_id.values()
        if endpoint.provider == "google" and any(price.size_tiers for price in endpoint.prices)
    )


def _make_plan(candidates: int) -> Prepare:
    def prepare() -> Callable[[], object]:
        offers = [
            make_endpoint(f"p{n}", price=make_price(f"0.{n:02}", "2"))
            for n in range(10, 10 + candidates)
        ]
        request, inputs = make_request(), make_inputs(make_catalogue_of(*offers))
        if len(make_plan(request, inputs).candidates) != candidates:
            raise RuntimeError("a candidate was excluded")
        return lambda: make_plan(request, inputs)

    return prepare


def _make_plan_measured() -> Callable[[], object]:
    """As in service: every endpoint has been measured, some are on their way back."""
    offers = [make_endpoint(f"p{n}", price=make_price(f"0.{n:02}", "2")) for n in range(10, 30)]
    health = {
        offer.id: make_health(
            latency_ms=200.0 + n, throughput=40.0 + n, uptime=0.999, has_recent_outage=n == 3
        )
        for n, offer in enumerate(offers)
    }
    inputs = make_inputs(make_catalogue_of(*offers), health=health)
    request = make_request()
    return lambda: make_plan(request, inputs)


def _auto(endpoints: int | None) -> Prepare:
    """Over the first so many endpoints of the shipped tables, or over all; tools are asked for."""

    def prepare() -> Callable[[], object]:
        catalogue = load_catalogue()
        pool: list[str] = []
        count = 0
        for model, offers in catalogue.endpoints_by_model.items():
            if endpoints is not None and count >= endpoints:
                break
            pool.append(model)
            count += len(offers)
        inputs = make_inputs(catalogue, auto_pool=tuple(pool))
        request = make_request("auto", needs=frozenset({"tools"}), max_output_tokens=1_000)
        return lambda: make_plan(request, inputs)

    return prepare


def _compact() -> Callable[[], object]:
    offers = [make_endpoint(f"p{n}", price=make_price(f"0.{n}", "2")) for n in range(10, 18)]
    plan = make_plan(make_request(), make_inputs(make_catalogue_of(*offers)))
    return lambda: compact(plan)


def _decode() -> Callable[[], object]:
    turns = [
        {"role": role, "content": "the quick brown fox " * 24}
        for role in ("system", *("user", "assistant") * 3, "user")
    ]
    sent = {"model": "acme/large", "messages": turns, "temperature": 0.2, "max_tokens": 500}
    body = json.dumps(sent).encode()
    return lambda: decode_chat_request(body, dialect=Dialect.OPENAI)


_CONDITIONS = (
    'models = ["author{n}/*"], labels = {{ team = "team-{n}" }}',
    'labels = {{ team = "team-{n}", env = "prod*" }}, prompt_tokens = {{ min = {n}000 }}',
    'metadata = {{ feature = "f{n}" }}, has = ["tools"]',
    'models = ["acme/large"], headers = {{ x-tier = "tier-{n}" }}',
    'models = ["acme/*"], hours = {{ zone = "UTC", days = ["mon-fri"], from = "08:{n:02}" }}',
)
_APPLIES = """
[[rules]]
name = "applies"
when = { labels = { team = "z" } }
then = { tighten = { max_price = { prompt = 3 } }, labels = { cost = "x" } }
"""


def _rules(count: int) -> str:
    """Rules of five kinds; on the Saturday of the tests none of them applies."""
    return "\n".join(
        f'[[rules]]\nname = "r{n}"\nwhen = {{ {_CONDITIONS[n % 5].format(n=n % 60)} }}\n'
        'then = { sort = "price" }'
        for n in range(count)
    )


def _govern(text: str) -> Prepare:
    def prepare() -> Callable[[], object]:
        rules = compile_rules(text, source="benchmark")
        catalogue = make_catalogue_of(*(make_endpoint(f"p{n}") for n in range(8)))
        inputs = make_inputs(catalogue, caller=make_caller(labels={"team": "z", "env": "dev"}))
        request = make_request(labels={"feature": "q"}, needs=frozenset({"tools"}))
        headers = {"x-tier": "none", "user-agent": "benchmark"}
        return lambda: govern(
            rules, request, inputs, headers=headers, secret_salt=b"salt", api="chat"
        )

    return prepare


def _decode_images() -> Callable[[], object]:
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 23_000
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What is on these pictures?"}]
    parts += [{"type": "image_url", "image_url": {"url": picture}}] * 4
    sent = {"model": "acme/large", "messages": [{"role": "user", "content": parts}]}
    body = json.dumps(sent).encode()
    return lambda: decode_chat_request(body, dialect=Dialect.OPENAI)


def _render() -> Callable[[], object]:
    attempt = make_attempt()
    choices = json.dumps(
        [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "fox " * 120},
                "finish_reason": "stop",
            }
        ]
    ).encode()

    def call() -> bytes:
        usage = render_usage(attempt.usage, attempt.cost)
        metadata = make_metadata(
            requested_model="acme/large", requested_provider=None, attempts=[attempt]
        )
        return render_completion(
            id="gen-1",
            created=1,
            model=attempt.model,
            provider=attempt.provider,
            choices=choices,
            usage=usage,
            metadata=render_metadata(metadata),
        )

    return call


def _append() -> Callable[[], object]:
    directory = tempfile.TemporaryDirectory(prefix="tollway-micro-")
    spool = Spool(Path(directory.name), worker=0)
    atexit.register(directory.cleanup)
    atexit.register(spool.close)
    begun, record = make_begun(), make_record()

    def call() -> None:
        spool.append_begun(begun)
        spool.append_record(record)

    return call


def _relay_chunk() -> Callable[[], object]:
    target = Target(endpoint=make_endpoint(), base_url="http://127.0.0.1", quirks=Quirks())
    decoder = OpenAIStreamDecoder(target)
    frame = ChunkFrame(id="gen-1", created=1, model="acme/large", provider="acme")
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "large",
        "choices": [{"index": 0, "delta": {"content": "the quick "}, "finish_reason": None}],
    }
    data = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
    return lambda: [frame.chunk(event.choices, event.extras) for event in decoder.feed(data)]


def _anthropic_chunk(**delta: str) -> Prepare:
    def prepare() -> Callable[[], object]:
        target = Target(endpoint=make_endpoint(), base_url="http://127.0.0.1", quirks=Quirks())
        decoder = adapter_for("anthropic").open_stream(target)
        frame = ChunkFrame(id="gen-1", created=1, model="acme/large", provider="acme")
        kind = delta["type"].removesuffix("_delta")
        block = {"type": kind, kind: ""}
        decoder.feed(_named({"type": "content_block_start", "index": 0, "content_block": block}))
        data = _named({"type": "content_block_delta", "index": 0, "delta": delta})
        return lambda: [frame.chunk(event.choices, event.extras) for event in decoder.feed(data)]

    return prepare


def _named(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


def _bedrock_chunk(delta: dict[str, Any]) -> Prepare:
    def prepare() -> Callable[[], object]:
        target = Target(endpoint=make_endpoint(), base_url="http://127.0.0.1", quirks=Quirks())
        decoder = adapter_for("bedrock").open_stream(target)
        frame = ChunkFrame(id="gen-1", created=1, model="acme/large", provider="acme")
        start = {"toolUse": {"toolUseId": "tooluse_1", "name": "look_up"}}
        decoder.feed(_binary("contentBlockStart", {"contentBlockIndex": 0, "start": start}))
        data = _binary("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta, "p": "abcdef"})
        return lambda: [frame.chunk(event.choices, event.extras) for event in decoder.feed(data)]

    return prepare


def _binary(kind: str, data: dict[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return binary_message(headers, json.dumps(data, separators=(",", ":")).encode())


def _gemini_chunk(part: dict[str, Any]) -> Prepare:
    def prepare() -> Callable[[], object]:
        target = Target(endpoint=make_endpoint(), base_url="http://127.0.0.1", quirks=Quirks())
        decoder = adapter_for("gemini").open_stream(target)
        frame = ChunkFrame(id="gen-1", created=1, model="acme/large", provider="acme")
        usage = {
            "promptTokenCount": 1000,
            "totalTokenCount": 1100,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
            "thoughtsTokenCount": 60,
        }
        events = itertools.cycle(
            b"data: "
            + json.dumps(
                {
                    "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}],
                    "usageMetadata": usage | {"candidatesTokenCount": tokens},
                    "modelVersion": "gemini-2.5-flash",
                    "responseId": "CdZKd8sJ8IUAAAAC",
                }
            ).encode()
            + b"\r\n\r\n"
            for tokens in range(1, 40)
        )

        def call() -> object:
            return [
                frame.chunk(event.choices, event.extras) for event in decoder.feed(next(events))
            ]

        return call

    return prepare


def _sign() -> Callable[[], object]:
    credential = AwsCredential(access_key_id="id", secret_access_key="k", region="us-east-1")
    sign = make_signer(credential)
    request = UpstreamRequest(
        method="POST",
        url="https://bedrock-runtime.us-east-1.amazonaws.com/model/acme.one-v1%3A0/converse",
        headers=[("Content-Type", "application/json")],
        body=b"x" * 4096,
    )
    return lambda: sign(request)


def _translated_request(protocol: str) -> Prepare:
    return lambda: _request_of(protocol)


def _request_of(protocol: str) -> Callable[[], object]:
    turns = [
        {"role": role, "content": "the quick brown fox " * 24}
        for role in ("system", *("user", "assistant") * 3, "user")
    ]
    body = json.dumps({"model": "acme/large", "messages": turns, "max_tokens": 500}).encode()
    request = decode_chat_request(body, dialect=Dialect.OPENAI)
    target = Target(endpoint=make_endpoint(), base_url="http://127.0.0.1", quirks=Quirks())
    adapter = adapter_for(protocol)
    return lambda: adapter.build_request(request, target, "sk")


def _board(directory: Path | None = None) -> tuple[HealthBoard, list[AttemptEnd]]:
    """A board that has heard of 20 endpoints, and an answer of each."""
    table = open_table(directory / "health.table", capacity=256) if directory else None
    ends = [
        make_end(endpoint=make_endpoint(f"p{n}"), ttft_ms=90.0 + n, usage=_USAGE) for n in range(20)
    ]
    board = HealthBoard(table=table)
    for end in ends:
        board.report(end)
    return board, ends


def _report_answers() -> Callable[[], object]:
    board, ends = _board()
    following = itertools.cycle(ends)

    def call() -> None:
        board.report(next(following))
        board.view(time.monotonic() * 1000)

    return call


def _report_failure_and_answer() -> Callable[[], object]:
    directory = tempfile.TemporaryDirectory(prefix="tollway-micro-")
    atexit.register(directory.cleanup)
    board, ends = _board(Path(directory.name))
    failed = make_end(Outcome.SERVER_ERROR, endpoint=ends[3].start.endpoint)
    # Few enough among answers, so that no breaker opens.
    answers = [ends[3]] * 3

    def call() -> None:
        for end in (failed, *answers):
            board.report(end)
        board.view(time.monotonic() * 1000)

    return call


def _ask_health() -> Callable[[], object]:
    board, ends = _board()
    endpoint = ends[5].start.endpoint

    def call() -> None:
        board.view(time.monotonic() * 1000)
        board.may_try(endpoint, 0)

    return call


def _learn() -> Callable[[], object]:
    experience, key_id, affinity = Experience(), UUID(int=1), b"a conversation.."
    end = make_end(endpoint=make_endpoint(), usage=_USAGE)

    def call() -> None:
        now_ms = time.monotonic() * 1000
        experience.learned(key_id)
        experience.sticky(affinity, now_ms)
        experience.report(end, key_id=key_id, affinity=affinity, choice_count=1, now_ms=now_ms)

    return call


class _AtOnce(Upstream):
    """Answers without a provider, so that only the loop around it is timed."""

    async def complete(
        self, request: ChatRequest, access: Access, attempt: Attempt, *, until_s: float
    ) -> Completion:
        del request, access, attempt, until_s
        return Completion(choices=b"[]")


def _attempt_loop() -> Callable[[], object]:
    endpoints = [make_endpoint(f"p{n}", price=make_price("1", "2")) for n in range(8)]
    plan = make_plan(make_request(), make_inputs(make_catalogue_of(*endpoints)))
    book = AccessBook(
        {
            endpoint.provider: ProviderAccess(
                id=endpoint.provider,
                base_url="http://127.0.0.1/v1",
                adapter=adapter_for("openai"),
                quirks=Quirks(),
                transport=httpx.MockTransport(lambda _: httpx.Response(200)),
                secret="sk-benchmark",
                deadlines=Deadlines(),
            )
            for endpoint in endpoints
        }
    )
    runner = Runner(_AtOnce(), Limits(), advice=HealthBoard())
    request, interruption = make_request(), Interruption()

    def call() -> None:
        run = runner.run(
            request,
            plan.candidates,
            book,
            on_start=_ignore,
            on_end=_ignore,
            interruption=interruption,
        )
        # Nothing is waited for: it runs to its end at the first step.
        with suppress(StopIteration):
            run.send(None)

    return call


def _ignore(_: object) -> None:
    pass


def _count_record() -> Callable[[], object]:
    tally, record = Tally(), make_record(attempts=(make_attempt(),))
    return lambda: tally.take(record)


def _toll() -> Callable[[], object]:
    """All that a hard budget adds to a request whose worker holds a slice of it."""
    offers = [make_endpoint(f"p{n}", price=make_price(f"0.{n:02}", "2")) for n in range(10, 18)]
    request, caller = make_request(), make_caller()
    candidates = make_plan(request, make_inputs(make_catalogue_of(*offers))).candidates
    budget = Budget(
        id=UUID(int=1), name="b", period="month", limit_nusd=10**15, created_at=SINCE_EVER
    )
    purse, budgets, now_s = Purse(), (budget,), time.time()
    booth = Tollbooth(
        purse,
        Limiter(open_limits(None, worker=0)),
        rules=BoundRules(),
        learned=lambda _key, _model: 500.0,
        expected_output_tokens=500,
    )
    purse.slice_of(budget, now_s).adopt(10**15)
    first = candidates[0]
    start = AttemptStart(
        number=1, kind="primary", endpoint=first.endpoint, price=first.price, started_at=_AT
    )
    attempt = msgspec.structs.replace(make_attempt(), number=1)

    async def pay() -> object:
        toll = booth.toll_of(caller, budgets, now_s)
        if toll is None or toll.account is None:
            raise RuntimeError("the budget is for every caller")
        toll.enter(request)
        if len(await toll.pay(request, candidates, _AT)) != len(candidates):
            raise RuntimeError("the budget holds every candidate")
        toll.begin(start)
        toll.end(attempt)
        toll.close()
        return toll.account.headroom_nusd, toll.charge

    def call() -> object:
        with suppress(StopIteration):
            # Nothing waits: the slice holds enough.
            pay().send(None)
        return purse

    return call


CALLS: dict[str, Prepare] = {
    "decode a request of 4 KiB": _decode,
    "decode a request of 1 MiB with images": _decode_images,
    "make_plan, 8 candidates": _make_plan(8),
    "make_plan, 20 candidates": _make_plan(20),
    "make_plan, 20 candidates with a past": _make_plan_measured,
    "make_plan, auto over 300 endpoints": _auto(300),
    "make_plan, auto over all endpoints": _auto(None),
    "compact form of a plan, 8 candidates": _compact,
    "rules, 100 of which none applies": _govern(_rules(100)),
    "rules, 101 of which one applies": _govern(_rules(100) + _APPLIES),
    "health: look at it, and ask before an attempt": _ask_health,
    "health: an answer, and the next look": _report_answers,
    "health: a failure and three answers, shared": _report_failure_and_answer,
    "experience of a request: read and learn": _learn,
    "a hard budget, 8 candidates: reserve and settle": _toll,
    "attempt loop, first endpoint answers": _attempt_loop,
    "render an answer": _render,
    "append an attempt's beginning and a record": _append,
    "count a record for metrics (in the background)": _count_record,
    "one relayed chunk": _relay_chunk,
    "one translated chunk, Anthropic, text": _anthropic_chunk(type="text_delta", text="the quick "),
    "one translated chunk, Anthropic, thinking": _anthropic_chunk(
        type="thinking_delta", thinking="the quick "
    ),
    "translate a request of 4 KiB, Anthropic": _translated_request("anthropic"),
    "one translated chunk, Gemini, text": _gemini_chunk({"text": "the quick "}),
    "one translated chunk, Gemini, thinking": _gemini_chunk({"text": "Hm. ", "thought": True}),
    "translate a request of 4 KiB, Gemini": _translated_request("gemini"),
    "one translated chunk, Bedrock, text": _bedrock_chunk({"text": "the quick "}),
    "one translated chunk, Bedrock, reasoning": _bedrock_chunk(
        {"reasoningContent": {"text": "the quick "}}
    ),
    "one translated chunk, Bedrock, arguments": _bedrock_chunk({"toolUse": {"input": '{"city":'}}),
    "translate a request of 4 KiB, Bedrock": _translated_request("bedrock"),
    "sign a request of 4 KiB": _sign,
    "resolve, list price": _resolve,
    "resolve, long prompt and service tier": _resolve_long,
    "compute_cost, four meters": _compute_cost,
}


def run() -> list[Timing]:
    """Time every registered call."""
    return [Timing(name=name, median_us=_median_us(prepare())) for name, prepare in CALLS.items()]


def _median_us(call: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    call()
    once_s = max(time.perf_counter() - started_at, 1e-7)
    times = max(1, int(_BATCH_S / once_s))
    return statistics.median(_batch_s(call, times) / times for _ in range(REPEATS)) * 1e6


def _batch_s(call: Callable[[], object], times: int) -> float:
    started_at = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started_at
