"""One request, top to bottom: gather the facts, plan, execute, settle. The page to read first.

Three rules of this file. Postgres is never awaited. A record is written before the answer ends,
with no ``await`` between settling and writing. Whatever happens to a request that got this far, it
leaves exactly one record (malformed and unauthenticated ones never do, and are only counted).
"""

import asyncio
import functools
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar
from uuid import UUID

import msgspec

from gateway.chat.answer import Frame
from gateway.chat.request import ChatRequest
from gateway.chat.shaping import Shape, shape_of, shape_whole
from gateway.chat.usage_report import to_json_number
from gateway.domain.attempts import AttemptEnd
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError, InvalidRequestError, OverloadedError
from gateway.domain.ids import RequestIds
from gateway.domain.interruption import Interruption
from gateway.domain.outcomes import Outcome
from gateway.exchange import CHAT, Api, Exchange
from gateway.execution.access import AccessBook
from gateway.execution.attempt import Attempt
from gateway.execution.drains import Drains, Shielded
from gateway.execution.experience import Experience
from gateway.execution.failures import FailedAttempt, error_of
from gateway.execution.health import HealthBoard
from gateway.execution.own_access import OwnAccess
from gateway.execution.relay import Relay
from gateway.execution.runner import Runner, Served
from gateway.execution.shadow import Shadows
from gateway.execution.signatures import Signatures
from gateway.ledger.journal import Journal, Ledger
from gateway.ledger.purse import Account
from gateway.ledger.settle import RequestFacts
from gateway.ledger.spool import SpoolUnwritableError
from gateway.ledger.toll import Toll, Tollbooth
from gateway.providers.base import Completion, FaultError, StreamEvent
from gateway.routing.affinity import affinity_key
from gateway.routing.explain import explain
from gateway.routing.explanation import Explanation
from gateway.routing.mirror import find_mirror
from gateway.routing.own_offer import own_inputs
from gateway.routing.plan import BalanceWeights, Candidate, Plan, PlanInputs
from gateway.routing.rules.apply import Ruled
from gateway.routing.rules.drawing import Mirror
from gateway.routing.rules.govern import govern, refusal_of
from gateway.routing.rules.rule_set import RuleSet
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from pricing.cost import from_nano_usd
from pricing.savings import Baseline

_log = logging.getLogger("tollway.pipeline")

T = TypeVar("T")

_OK = 200
_CLIENT_CLOSED = 499
_BROKEN = 500
_UNAVAILABLE = 503
_SEED_BITS = 63
_RANDOM_BITS = 62
_HASH_KEY_BYTES = 32
_MAX_WARNINGS_HEADER = 1024
_NO_HEADERS: Mapping[str, str] = {}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's settings that decisions rest on."""

    slash_pins_provider: bool
    expected_output_tokens: int
    code_version: str
    strategy: Literal["price-weighted", "balanced"] = "price-weighted"
    balance: BalanceWeights = BalanceWeights()
    auto_models: tuple[str, ...] = ()
    """What ``auto`` chooses between; empty stands for the curated models."""
    fetches_media: bool = False
    """Images and files are fetched for endpoints that take data only."""
    baseline: Baseline | None = None
    """What costs are compared with; None: nothing."""
    split_salt: bytes = b"unset"
    """Keys the hash by which rules divide traffic; a secret, the same on every node."""

    def __repr__(self) -> str:
        return f"Policy({self.code_version})"


class WholeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in one piece."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class StreamedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that has begun; close the generator whatever happens."""

    headers: list[tuple[str, str]]
    first: bytes
    """To be sent before the events; often nothing."""
    events: AsyncGenerator[bytes]


class Pipeline:
    """Answers requests. One instance serves a worker."""

    def __init__(
        self,
        *,
        snapshots: SnapshotHolder,
        runner: Runner,
        access_of: AccessBook,
        health: HealthBoard,
        ledger: Ledger,
        policy: Policy,
        shadows: Shadows | None = None,
        api: Api = CHAT,
        experience: Experience | None = None,
        booth: Tollbooth | None = None,
        own_access: OwnAccess | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._runner = runner
        self._access_of = access_of
        self._health = health
        self._ledger = ledger
        self._policy = policy
        self._shadows = shadows
        self._api = api
        self._experience = experience or Experience()
        self._booth = booth
        self._own_access = own_access
        self._signatures = Signatures()
        # What happens with callers' own credentials says nothing of the operator's.
        self._own_runner = runner.apart()
        self._ids = RequestIds()
        self._drains = Drains()

    async def aclose(self, *, within_s: float) -> None:
        """End what is still read for callers who hung up."""
        await self._drains.aclose(within_s=within_s)

    async def answer(
        self,
        request: ChatRequest,
        caller: Caller,
        interruption: Interruption,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> WholeAnswer | StreamedAnswer:
        """Answer one request of an authenticated caller.

        Args:
            request: decoded.
            caller: authenticated.
            interruption: told when the caller hangs up.
            headers: of the request, by lower-case name; rules look at them, nothing keeps them.

        Raises:
            GatewayError: it could not be answered; unless it was malformed, it left its record.
        """
        if not self._ledger.is_writable:
            raise _unrecordable()
        try:
            return await self._answer(self._begin(request, caller, interruption, headers))
        except SpoolUnwritableError as exc:
            raise _unrecordable() from exc

    def plan(
        self, request: ChatRequest, caller: Caller, *, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Plan:
        """What `answer` would do now, without doing it; nothing is recorded.

        Raises:
            GatewayError: no endpoint may serve the request.
        """
        snapshot = self._snapshots.current
        now_s = time.time()
        account = self._account_of(snapshot, caller, now_s)
        inputs = self._inputs(snapshot, caller, now_s, self._affinity(request, caller), account)
        ruled, inputs = self._govern(snapshot, request, inputs, headers)
        if ruled.denial is not None:
            raise refusal_of(ruled.denial)
        return self._api.make_plan(ruled.request, inputs)

    def explain(
        self,
        request: ChatRequest,
        caller: Caller,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        rules: RuleSet | None = None,
    ) -> Explanation:
        """What `answer` would do now and why, without doing it; nothing is recorded.

        ``rules`` are tried in place of those in force.

        Raises:
            GatewayError: the request is wrong in itself.
        """
        snapshot = self._snapshots.current
        if rules is not None:
            snapshot = msgspec.structs.replace(snapshot, rules=rules)
        now_s = time.time()
        account = self._account_of(snapshot, caller, now_s)
        inputs = self._inputs(snapshot, caller, now_s, self._affinity(request, caller), account)
        ruled, inputs = self._govern(snapshot, request, inputs, headers)
        return explain(ruled.request, inputs, ruled)

    async def _answer(self, exchange: Exchange) -> WholeAnswer | StreamedAnswer:
        try:
            exchange.check_rules()
            if exchange.is_of_caller:
                self._use_own(exchange)
            if exchange.toll is not None:
                exchange.toll.enter(exchange.request)
            exchange.plan = exchange.api.make_plan(exchange.request, exchange.inputs)
            runner = self._own_runner if exchange.is_of_caller else self._runner
            candidates: Sequence[Candidate] = exchange.plan.candidates
            if exchange.toll is not None:
                candidates = await self._pay(exchange, exchange.toll, candidates)
            served = await runner.run(
                exchange.request,
                candidates,
                exchange.access_of,
                on_start=exchange.begin_attempt,
                on_end=exchange.end_attempt,
                interruption=exchange.interruption,
            )
        except (InvalidRequestError, SpoolUnwritableError):
            if exchange.toll is not None:
                exchange.toll.close()
            raise
        except GatewayError as error:
            exchange.close_with(error)
            raise
        except asyncio.CancelledError:
            exchange.close_interrupted()
            raise
        except Exception:
            exchange.close_broken()
            raise
        remember = self._remembers(exchange, served)
        if served.completion is not None:
            if remember is not None:
                remember(served.completion.choices)
            return _whole(exchange, served, served.completion)
        events = _stream(exchange, served, self._drains_at(exchange, served), remember)
        # Closing a generator that was never begun would neither record nor stop anything.
        first = await anext(events)
        return StreamedAnswer(headers=_headers(exchange, served), first=first, events=events)

    async def _pay(
        self, exchange: Exchange, toll: Toll, candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """What the budgets of the caller hold enough for; the reservation is made."""
        chosen = await toll.pay(exchange.request, candidates, exchange.inputs.at)
        exchange.warn(toll.warnings)
        return chosen

    def _begin(
        self,
        request: ChatRequest,
        caller: Caller,
        interruption: Interruption,
        headers: Mapping[str, str],
    ) -> Exchange:
        """Gather the facts: what the request meets here and now, fixed until its end."""
        snapshot, policy = self._snapshots.current, self._policy
        now_s = time.time()
        affinity = self._affinity(request, caller)
        toll = self._toll_of(snapshot, request, caller, now_s)
        inputs = self._inputs(
            snapshot, caller, now_s, affinity, None if toll is None else toll.account
        )
        received_at = inputs.at
        ruled, inputs = self._govern(snapshot, request, inputs, headers)
        facts = RequestFacts(
            id=self._ids.next(
                unix_ms=int(now_s * 1000), random_bits=random.getrandbits(_RANDOM_BITS)
            ),
            received_at=received_at,
            key_id=caller.key_id,
            labels=dict(ruled.labels),
            dialect=request.dialect.value,
            stream=request.stream,
            requested_model=request.models[0] if request.models else "",
            user=request.user,
            session_id=request.session_id,
            tags=request.labels,
            rule_version=ruled.version,
            catalogue_version=snapshot.catalogue.version,
            code_version=policy.code_version,
        )
        journal = Journal(
            facts, self._ledger, prompt_tokens_estimate=request.prompt_tokens_estimate
        )
        is_of_caller = bool(ruled.request.provider_configs)
        exchange = Exchange(
            self._with_signatures(ruled.request, caller),
            inputs,
            journal,
            interruption,
            access_of=self._access_of,
            health=None if is_of_caller else self._health,
            api=self._api,
            ruled=ruled,
            toll=toll,
            baseline=policy.baseline,
            learn=_learn_nothing
            if is_of_caller
            else functools.partial(
                self._learn,
                key_id=caller.key_id,
                affinity=affinity,
                choice_count=request.choice_count,
            ),
        )
        if ruled.mirror is not None and self._shadows is not None and not is_of_caller:
            mirror = functools.partial(self._mirror, exchange, ruled.mirror, self._shadows)
            # After the answer, and where a failure of ours is logged instead of answered.
            exchange.mirror = functools.partial(asyncio.get_running_loop().call_soon, mirror)
        return exchange

    def _mirror(self, exchange: Exchange, mirror: Mirror, shadows: Shadows) -> None:
        """Send a copy of a request that is over to where a rule wants to compare."""
        request = exchange.request
        candidate = find_mirror(request, exchange.inputs, mirror, self._api.make_plan)
        if candidate is None:
            shadows.unfit += 1
            return
        shadows.start(
            request,
            candidate,
            self._access_of(candidate.endpoint),
            number=exchange.journal.next_number,
            on_start=exchange.begin_attempt,
            on_end=exchange.end_shadow,
        )

    def _with_signatures(self, request: ChatRequest, caller: Caller) -> ChatRequest:
        """With what is remembered of the calls it answers, for clients that forget it."""
        known = self._signatures.recall(caller.key_id, request.body)
        return msgspec.structs.replace(request, remembered_signatures=known) if known else request

    def _remembers(self, exchange: Exchange, served: Served) -> Callable[[bytes], None] | None:
        """What keeps the signatures of an answer, where the endpoint wants them back."""
        endpoint = served.attempt.candidate.endpoint
        if endpoint.capabilities.get("signed_tool_calls") is not True:
            return None
        return functools.partial(self._signatures.note, exchange.inputs.caller.key_id)

    def _affinity(self, request: ChatRequest, caller: Caller) -> bytes | None:
        return affinity_key(request, caller, hash_key=self._policy.split_salt[:_HASH_KEY_BYTES])

    def _learn(
        self, end: AttemptEnd, *, key_id: UUID, affinity: bytes | None, choice_count: int
    ) -> None:
        self._experience.report(
            end,
            key_id=key_id,
            affinity=affinity,
            choice_count=choice_count,
            now_ms=time.monotonic() * 1000,
        )

    def _govern(
        self,
        snapshot: Snapshot,
        request: ChatRequest,
        inputs: PlanInputs,
        headers: Mapping[str, str],
    ) -> tuple[Ruled, PlanInputs]:
        if snapshot.rules is None:
            raise OverloadedError(
                "the rules of this installation are not known yet, so that nothing may be answered",
                code="rules_unknown",
                retry_after_s=1,
            )
        return govern(
            snapshot.rules,
            request,
            inputs,
            headers=headers,
            secret_salt=self._policy.split_salt,
            api=self._api.name,
        )

    def _use_own(self, exchange: Exchange) -> None:
        """Let the providers that the request brings along serve it, and nobody else.

        Raises:
            InvalidRequestError: their addresses are not allowed to the caller's key.
            ModelNotFoundError: they serve none of its models.
        """
        request, caller = exchange.request, exchange.inputs.caller
        if self._own_access is None or not caller.provider_configs_origins:
            raise InvalidRequestError(
                "`provider_configs` is not accepted from this key.",
                param="provider_configs",
                code="not_allowed",
            )
        exchange.access_of = self._own_access.book(request, caller.provider_configs_origins)
        named = [one.provider for one in request.provider_configs]
        exchange.inputs = own_inputs(request, exchange.inputs, named)

    def _drains_at(self, exchange: Exchange, served: Served) -> Drains | None:
        """What reads a stream on when its caller hangs up; None where its provider is stopped."""
        access = exchange.access_of(served.attempt.candidate.endpoint)
        return self._drains if access.drains_on_disconnect and self._drains.has_room else None

    def _toll_of(
        self, snapshot: Snapshot, request: ChatRequest, caller: Caller, now_s: float
    ) -> Toll | None:
        if self._booth is None:
            return None
        is_charged = not request.provider_configs
        return self._booth.toll_of(caller, snapshot.budgets, now_s, is_charged=is_charged)

    def _account_of(self, snapshot: Snapshot, caller: Caller, now_s: float) -> Account | None:
        if self._booth is None:
            return None
        return self._booth.purse.account_of(caller, snapshot.budgets, now_s)

    def _inputs(
        self,
        snapshot: Snapshot,
        caller: Caller,
        now_s: float,
        affinity: bytes | None,
        account: Account | None = None,
    ) -> PlanInputs:
        policy, experience = self._policy, self._experience
        headroom_nusd = None
        if account is not None:
            caller, headroom_nusd = account.caller, account.headroom_nusd
        now_ms = time.monotonic() * 1000
        return PlanInputs(
            catalogue=snapshot.catalogue,
            caller=caller,
            at=datetime.fromtimestamp(now_s, UTC),
            now_ms=now_ms,
            health=_advised(lambda: self._health.view(now_ms), {}),
            aliases=snapshot.aliases,
            slash_pins_provider=policy.slash_pins_provider,
            expected_output_tokens=policy.expected_output_tokens,
            configured_models=snapshot.configured_models,
            learned_output_tokens=_advised(lambda: experience.learned(caller.key_id), {}),
            sticky=_advised(lambda: experience.sticky(affinity, now_ms), None),
            auto_pool=policy.auto_models,
            fetches_media=policy.fetches_media,
            strategy=policy.strategy,
            balance=policy.balance,
            hash_key=policy.split_salt[:_HASH_KEY_BYTES],
            budget_headroom_usd=None if headroom_nusd is None else from_nano_usd(headroom_nusd),
            seed=random.getrandbits(_SEED_BITS),
        )


def _advised(look: Callable[[], T], otherwise: T) -> T:
    """What was learned of endpoints; without it the order of prices is good enough."""
    try:
        return look()
    except Exception:  # noqa: BLE001 - said aloud, and the request goes on
        _log.exception("what was learned of endpoints cannot be read; requests go by price")
        return otherwise


def _learn_nothing(end: AttemptEnd) -> None:
    del end


def _whole(exchange: Exchange, served: Served, completion: Completion) -> WholeAnswer:
    """Settle, remember, and only then render what the client gets."""
    exchange.upstream_model = completion.upstream_model
    exchange.warn(served.attempt.warnings)
    exchange.close(Outcome.SUCCESS, _OK)
    answered = exchange.answered
    choices, exchange.repairs = shape_whole(completion.choices, exchange.request)
    body = exchange.api.render(
        id=exchange.id,
        created=exchange.created,
        model=exchange.shown_model(answered.model),
        provider=answered.provider,
        choices=choices,
        usage=_usage(exchange, served),
        metadata=exchange.metadata(),
        extras=completion.extras,
        service_tier=completion.service_tier,
    )
    return WholeAnswer(status=_OK, headers=_headers(exchange, served), body=body)


async def _stream(
    exchange: Exchange,
    served: Served,
    drains: Drains | None,
    remember: Callable[[bytes], None] | None,
) -> AsyncGenerator[bytes]:
    """Nothing at first; then the events as the client sees them, the last ones with the cost."""
    relay, attempt = served.relay, served.attempt
    if relay is None:
        raise RuntimeError("a streamed answer has a relay")
    exchange.warn(attempt.warnings)
    exchange.journal.first_content_s = attempt.first_content_s
    endpoint = attempt.candidate.endpoint
    frame = exchange.api.frame(
        id=exchange.id,
        created=exchange.created,
        model=exchange.shown_model(endpoint.model),
        provider=endpoint.provider,
        prompt_tokens=exchange.request.prompt_tokens_estimate,
    )
    shape = shape_of(exchange.request)
    source = relay if drains is None else Shielded(relay)
    held: StreamEvent | None = None
    try:
        yield b"".join(map(frame.echo, exchange.echoes_with(attempt.echo)))
        while (events := await source.next()) is not None:
            if remember is not None:
                for event in events:
                    remember(event.choices)
            shown, held = _shown(events, held, frame, shape)
            if shown:
                yield shown
        attempt.end(Outcome.SUCCESS)
        exchange.close(Outcome.SUCCESS, _OK)
        yield _closing(exchange, served, frame, held, shape)
    except FaultError as exc:
        attempt.fail(exc.fault)
        failed = FailedAttempt(endpoint=endpoint.id, provider=endpoint.provider, fault=exc.fault)
        error = error_of([failed])
        exchange.close(exc.fault.outcome, _OK, error_kind=error.code or error.kind)
        metadata = {**error.metadata, "usage": _usage_of_broken(exchange, served)}
        yield frame.error(error.message, error.kind, error.code, metadata) + frame.done
    except asyncio.CancelledError:
        if not exchange.interruption.is_shutdown or exchange.journal.is_closed:
            raise
        _stay_alive()
        attempt.end(Outcome.GATEWAY_SHUTDOWN)
        exchange.close_interrupted()
        farewell = "the gateway is shutting down; the answer is not complete"
        yield frame.error(farewell, "service_unavailable", "server_shutdown") + frame.done
    except SpoolUnwritableError:
        error = _unrecordable()
        yield frame.error(error.message, error.kind, error.code) + frame.done
    except Exception:
        attempt.end(Outcome.GATEWAY_ERROR)
        exchange.close_broken()
        raise
    finally:
        await _leave(exchange, attempt, source, drains)


async def _leave(
    exchange: Exchange, attempt: Attempt, source: Relay | Shielded, drains: Drains | None
) -> None:
    """The stream is over, or its caller is gone: record what has none, and stop the provider."""
    if drains is not None and isinstance(source, Shielded) and exchange.is_abandoned:
        drains.start(_read_on(exchange, attempt, source))
        return
    attempt.end(exchange.interruption.outcome)
    if not exchange.journal.is_closed:
        exchange.close_interrupted()
    await source.aclose()


async def _read_on(exchange: Exchange, attempt: Attempt, source: Shielded) -> None:
    """The caller is gone, the provider bills on: its last event tells what it counted."""
    try:
        while await source.next() is not None:
            pass
    except FaultError:
        # What was seen until here is all there will be.
        pass
    finally:
        attempt.end(exchange.interruption.outcome)
        exchange.close_interrupted()
        await source.aclose()


def _shown(
    events: list[StreamEvent], held: StreamEvent | None, frame: Frame, shape: Shape | None
) -> tuple[bytes, StreamEvent | None]:
    """What of these events goes out now, and the finish that waits for the usage behind it."""
    shown: list[bytes] = []
    for event in events:
        if event.finish_reason is not None:
            if held is not None:
                choices = held.choices if shape is None else shape(held.choices)
                shown.append(frame.chunk(choices, held.extras))
            held = event
            continue
        choices = event.choices if shape is None else shape(event.choices)
        if choices != b"[]":
            shown.append(frame.chunk(choices, event.extras))
    return b"".join(shown), held


def _closing(
    exchange: Exchange,
    served: Served,
    frame: Frame,
    held: StreamEvent | None,
    shape: Shape | None,
) -> bytes:
    """The finish and the accounts: apart when the client asked for usage, else in one chunk."""
    choices, extras = (held.choices, held.extras) if held is not None else (b"[]", b"")
    choices = choices if shape is None else shape(choices)
    usage, metadata = _usage(exchange, served), exchange.metadata()
    if exchange.request.include_usage:
        accounts = frame.with_usage(b"[]", b"", usage, metadata)
        return frame.chunk(choices, extras) + accounts + frame.done
    return frame.with_usage(choices, extras, usage, metadata) + frame.done


def _usage(exchange: Exchange, served: Served) -> bytes:
    answered = exchange.answered
    return exchange.api.render_usage(
        answered.usage,
        answered.cost,
        is_estimated=answered.usage_source == "estimated",
        details=served.attempt.usage_details,
        **({"is_byok": True} if exchange.is_of_caller else {}),
    )


def _usage_of_broken(exchange: Exchange, served: Served) -> msgspec.Raw:
    """What a stream that broke off used and cost; the provider bills it all the same."""
    number = served.attempt.start.number
    broken = next(one for one in exchange.journal.attempts if one.number == number)
    return msgspec.Raw(
        exchange.api.render_usage(
            broken.usage, broken.cost, is_estimated=broken.usage_source == "estimated"
        )
    )


def _headers(exchange: Exchange, served: Served) -> list[tuple[str, str]]:
    """Who answers, at which attempt, and, once it is known, for how much."""
    plan, journal, record = exchange.plan, exchange.journal, exchange.record
    endpoint = served.attempt.candidate.endpoint
    headers = [
        ("content-type", "text/event-stream" if exchange.request.stream else "application/json"),
        ("cache-control", "no-cache"),
        # Reverse proxies would otherwise hold a stream back until their buffer is full.
        ("x-accel-buffering", "no"),
        ("x-generation-id", exchange.id),
        ("x-tollway-attempts", str(len(journal.attempts) + (record is None))),
        ("x-tollway-provider", endpoint.provider),
        ("x-tollway-model", endpoint.model),
    ]
    if record is not None:
        headers.append(("x-tollway-cost-usd", to_json_number(record.cost_usd)))
    if exchange.warnings:
        text = "; ".join(exchange.warnings)[:_MAX_WARNINGS_HEADER]
        headers.append(("x-tollway-warnings", text.encode("ascii", "replace").decode()))
    if plan is not None:
        headers.append(("x-tollway-strategy", plan.strategy))
    if exchange.toll is not None:
        headers += exchange.toll.headers
    return headers


def _unrecordable() -> OverloadedError:
    return OverloadedError(
        "requests cannot be recorded now (the spool is full, or its disk fails)",
        code="spool_unwritable",
        retry_after_s=5,
    )


def _stay_alive() -> None:
    """Take back the cancellation that asked for a farewell, so that it can be said."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
