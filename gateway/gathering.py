"""Gathers what a request meets here and now, fixed until its end: keys, prices, rules, health."""

import functools
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeVar
from uuid import UUID

import msgspec

from gateway.chat.request import ChatRequest, Need
from gateway.domain.attempts import AttemptEnd
from gateway.domain.caller import Caller
from gateway.domain.errors import OverloadedError
from gateway.domain.ids import RequestIds
from gateway.domain.interruption import Interruption
from gateway.domain.token_ratio import USUAL, PromptSize, prompt_size
from gateway.exchange import Api, Exchange
from gateway.execution.access import AccessBook
from gateway.execution.experience import Experience
from gateway.execution.health import HealthBoard
from gateway.execution.signatures import Signatures
from gateway.ledger.budget_account import Account
from gateway.ledger.journal import Journal, Ledger
from gateway.ledger.settle import RequestFacts
from gateway.ledger.toll import Toll, Tollbooth
from gateway.routing.affinity import affinity_key
from gateway.routing.plan import BalanceWeights, PlanInputs
from gateway.routing.rules.apply import Ruled
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import RuleSet
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from pricing.cost import from_nano_usd
from pricing.savings import Baseline

_log = logging.getLogger("tollway.gathering")

T = TypeVar("T")

_SEED_BITS = 63
_RANDOM_BITS = 62
_HASH_KEY_BYTES = 32
_NEAR_ENOUGH = 32
"""An estimate that is off by no more than one part in so many stays: copies of requests cost."""
_BEYOND_TEXT: frozenset[Need] = frozenset({"vision", "audio_input", "pdf_input", "video_input"})


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


class Gathering:
    """Brings the facts of a request together. One instance serves one API of a worker."""

    def __init__(
        self,
        *,
        snapshots: SnapshotHolder,
        access_of: AccessBook,
        health: HealthBoard,
        ledger: Ledger,
        policy: Policy,
        api: Api,
        experience: Experience,
        booth: Tollbooth | None,
        signatures: Signatures,
    ) -> None:
        self._snapshots = snapshots
        self._access_of = access_of
        self._health = health
        self._ledger = ledger
        self._policy = policy
        self._api = api
        self._experience = experience
        self._booth = booth
        self._signatures = signatures
        self._ids = RequestIds()

    def weigh(
        self,
        request: ChatRequest,
        caller: Caller,
        headers: Mapping[str, str],
        *,
        rules: RuleSet | None = None,
        is_estimated: bool = False,
    ) -> tuple[Ruled, PlanInputs]:
        """What a request would be decided by now.

        Args:
            request: decoded.
            caller: authenticated.
            headers: of the request, by lower-case name.
            rules: tried in place of those in force.
            is_estimated: the size of its prompt is already as its model counts.

        Raises:
            OverloadedError: no rules are known yet.
        """
        snapshot = self._snapshots.current
        if not is_estimated:
            request = self._calibrated(request, _size_of(request), snapshot)
        if rules is not None:
            snapshot = msgspec.structs.replace(snapshot, rules=rules)
        now_s = time.time()
        account = self._account_of(snapshot, caller, now_s)
        inputs = self._inputs(snapshot, caller, now_s, self._affinity(request, caller), account)
        return self._govern(snapshot, request, inputs, headers)

    def begin(
        self,
        request: ChatRequest,
        caller: Caller,
        interruption: Interruption,
        headers: Mapping[str, str],
    ) -> Exchange:
        """Gather the facts: what the request meets here and now, fixed until its end."""
        snapshot, policy = self._snapshots.current, self._policy
        size = _size_of(request)
        request = self._calibrated(request, size, snapshot)
        now_s = time.time()
        affinity = self._affinity(request, caller)
        toll = self._toll_of(snapshot, request, caller, now_s)
        inputs = self._inputs(
            snapshot, caller, now_s, affinity, None if toll is None else toll.account
        )
        received_at = inputs.at
        ruled, inputs = self._govern(snapshot, request, inputs, headers)
        is_of_caller = bool(ruled.request.provider_configs)
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
            is_paid_by_caller=is_of_caller,
            rule_version=ruled.version,
            catalogue_version=snapshot.catalogue.version,
            code_version=policy.code_version,
        )
        journal = Journal(facts, self._ledger, prompt=size, ratio_of=self._experience.ratios.of)
        return Exchange(
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
            asked=request,
            learn=_learn_nothing
            if is_of_caller
            else functools.partial(
                self._learn,
                key_id=caller.key_id,
                affinity=affinity,
                choice_count=request.choice_count,
                prompt=None if request.image_count or request.needs & _BEYOND_TEXT else size,
            ),
        )

    def _calibrated(
        self, request: ChatRequest, size: PromptSize, snapshot: Snapshot
    ) -> ChatRequest:
        """With the prompt's tokens as the model that is asked for usually counts them."""
        name = request.models[0] if request.models else ""
        ratio = self._experience.ratios.of(snapshot.catalogue.model_named(name) or name)
        if ratio is USUAL:
            return request
        tokens, estimate = size.tokens(ratio), request.prompt_tokens_estimate
        if abs(tokens - estimate) * _NEAR_ENOUGH <= estimate:
            return request
        return msgspec.structs.replace(request, prompt_tokens_estimate=tokens)

    def _with_signatures(self, request: ChatRequest, caller: Caller) -> ChatRequest:
        """With what is remembered of the calls it answers, for clients that forget it."""
        known = self._signatures.recall(caller.key_id, request.body)
        return msgspec.structs.replace(request, remembered_signatures=known) if known else request

    def _affinity(self, request: ChatRequest, caller: Caller) -> bytes | None:
        return affinity_key(request, caller, hash_key=self._policy.split_salt[:_HASH_KEY_BYTES])

    def _learn(
        self,
        end: AttemptEnd,
        *,
        key_id: UUID,
        affinity: bytes | None,
        choice_count: int,
        prompt: PromptSize | None,
    ) -> None:
        self._experience.report(
            end,
            key_id=key_id,
            affinity=affinity,
            choice_count=choice_count,
            prompt=prompt,
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


def _size_of(request: ChatRequest) -> PromptSize:
    return prompt_size(
        text_bytes=request.prompt_bytes, tokens_estimate=request.prompt_tokens_estimate
    )


def _learn_nothing(end: AttemptEnd) -> None:
    del end
