"""One request, top to bottom: gather the facts, plan, execute, settle. The page to read first.

Three rules of this file. Postgres is never awaited. A record is written before the answer ends,
with no ``await`` between settling and writing (`answers.py`). Whatever happens to a request that
got this far, it leaves exactly one record (malformed and unauthenticated ones never do, and are
only counted). What a request meets here and now is gathered in `gathering.py`.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence

from gateway.answers import (
    StreamedAnswer,
    WholeAnswer,
    answer_whole,
    headers_of,
    stream,
    unrecordable,
)
from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError, InvalidRequestError
from gateway.domain.interruption import Interruption
from gateway.exchange import CHAT, Api, Exchange
from gateway.execution.access import AccessBook
from gateway.execution.drains import Drains
from gateway.execution.experience import Experience
from gateway.execution.health import HealthBoard
from gateway.execution.own_access import OwnAccess
from gateway.execution.runner import Runner, Served
from gateway.execution.shadow import Shadows
from gateway.execution.signatures import Signatures
from gateway.gathering import Gathering, Policy
from gateway.ledger.journal import Ledger
from gateway.ledger.spool import SpoolUnwritableError
from gateway.ledger.toll import Toll, Tollbooth
from gateway.routing.explanation import Explanation
from gateway.routing.mirror import find_mirror
from gateway.routing.own_offer import own_inputs
from gateway.routing.plan import Candidate, Plan
from gateway.routing.rules.drawing import Mirror
from gateway.routing.rules.govern import refusal_of
from gateway.routing.rules.rule_set import RuleSet
from gateway.snapshot.snapshot import SnapshotHolder

_NO_HEADERS: Mapping[str, str] = {}


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
        self._runner = runner
        self._access_of = access_of
        self._ledger = ledger
        self._shadows = shadows
        self._api = api
        self._own_access = own_access
        self._signatures = Signatures()
        self._gathering = Gathering(
            snapshots=snapshots,
            access_of=access_of,
            health=health,
            ledger=ledger,
            policy=policy,
            api=api,
            experience=experience or Experience(),
            booth=booth,
            signatures=self._signatures,
        )
        # What happens with callers' own credentials says nothing of the operator's.
        self._own_runner = runner.apart()
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
            interruption: told when the caller hangs up; learns whose request it is.
            headers: of the request, by lower-case name; rules look at them, nothing keeps them.

        Raises:
            GatewayError: it could not be answered; unless it was malformed, it left its record.
        """
        interruption.key_id = caller.key_id
        if not self._ledger.is_writable:
            raise unrecordable()
        try:
            return await self._answer(self._gathering.begin(request, caller, interruption, headers))
        except SpoolUnwritableError as exc:
            raise unrecordable() from exc

    def plan(
        self, request: ChatRequest, caller: Caller, *, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Plan:
        """What `answer` would do now, without doing it; nothing is recorded.

        Raises:
            GatewayError: no endpoint may serve the request.
        """
        ruled, inputs = self._gathering.weigh(request, caller, headers)
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
        is_estimated: bool = False,
    ) -> Explanation:
        """What `answer` would do now and why, without doing it; nothing is recorded.

        ``rules`` are tried in place of those in force. With ``is_estimated`` the size of the prompt
        is taken as the request has it, which was put together from a record.

        Raises:
            GatewayError: the request is wrong in itself.
        """
        ruled, inputs = self._gathering.weigh(
            request, caller, headers, rules=rules, is_estimated=is_estimated
        )
        return self._api.explain(ruled.request, inputs, ruled)

    async def _answer(self, exchange: Exchange) -> WholeAnswer | StreamedAnswer:
        self._prepare_mirror(exchange)
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
            return answer_whole(exchange, served, served.completion)
        events = stream(exchange, served, self._drains_at(exchange, served), remember)
        # Closing a generator that was never begun would neither record nor stop anything.
        first = await anext(events)
        return StreamedAnswer(headers=headers_of(exchange, served), first=first, events=events)

    async def _pay(
        self, exchange: Exchange, toll: Toll, candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """What the budgets of the caller hold enough for; the reservation is made."""
        chosen = await toll.pay(exchange.request, candidates, exchange.inputs.at)
        exchange.warn(toll.warnings)
        return chosen

    def _prepare_mirror(self, exchange: Exchange) -> None:
        """Let a copy be sent once the request is over, where a rule wants to compare."""
        mirror = exchange.ruled.mirror if exchange.ruled is not None else None
        if mirror is None or self._shadows is None or exchange.is_of_caller:
            return
        send = functools.partial(self._mirror, exchange, mirror, self._shadows)
        # After the answer, and where a failure of ours is logged instead of answered.
        exchange.mirror = functools.partial(asyncio.get_running_loop().call_soon, send)

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

    def _remembers(self, exchange: Exchange, served: Served) -> Callable[[bytes], None] | None:
        """What keeps the signatures of an answer, where the endpoint wants them back."""
        endpoint = served.attempt.candidate.endpoint
        if endpoint.capabilities.get("signed_tool_calls") is not True:
            return None
        return functools.partial(self._signatures.note, exchange.inputs.caller.key_id)

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
