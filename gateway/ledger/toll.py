"""What stands between a request and its attempts: the limits of its key, then its budgets.

One `Toll` follows one request. Callers without limits and budgets have none, and pay no time.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from gateway.chat.request import ChatRequest
from gateway.domain.attempts import AttemptStart
from gateway.domain.budgets import Budget, Charge, Reservation
from gateway.domain.caller import Caller
from gateway.domain.errors import BudgetExceededError, GatewayError
from gateway.domain.records import AttemptRecord
from gateway.domain.token_ratio import RatioOf, usual_ratio
from gateway.ledger.budget_account import Account
from gateway.ledger.budget_bounds import BoundRules, attempt_bounds
from gateway.ledger.budget_refusals import explain
from gateway.ledger.budgets import Spending
from gateway.ledger.limits import Limiter, Permit, is_limited, rate_headers
from gateway.ledger.purse import Purse
from gateway.ledger.stream_guard import StreamGuard
from gateway.routing.plan import Candidate
from pricing.cost import to_nano_usd, worst_nano_estimator

_MTOK = 1_000_000

Learned = Callable[[UUID, str], float | None]
"""By key and canonical model: tokens that 95 % of the key's answers do not exceed."""


class Tollbooth:
    """Makes tolls. One per worker."""

    def __init__(
        self,
        purse: Purse,
        limiter: Limiter,
        *,
        rules: BoundRules,
        learned: Learned,
        expected_output_tokens: int,
        ratio_of: RatioOf = usual_ratio,
    ) -> None:
        """Make tolls with these books.

        Args:
            purse: of budgets.
            limiter: of rates.
            rules: for what an attempt may cost.
            learned: how long answers are.
            expected_output_tokens: what an answer is expected to hold when nobody says.
            ratio_of: bytes a token, by model.
        """
        self.purse = purse
        self.limiter = limiter
        self.rules = rules
        self.learned = learned
        self.expected_output_tokens = expected_output_tokens
        self.ratio_of = ratio_of

    def toll_of(
        self, caller: Caller, budgets: tuple[Budget, ...], now_s: float, *, is_charged: bool = True
    ) -> "Toll | None":
        """The toll of a request; None where nothing limits its caller.

        Args:
            caller: authenticated.
            budgets: of the snapshot.
            now_s: Unix seconds.
            is_charged: False for a request that its caller's own providers are paid for.
        """
        account = self.purse.account_of(caller, budgets, now_s) if budgets and is_charged else None
        if account is None and not is_limited(caller):
            return None
        return Toll(self, caller, account)


class Toll:
    """The limits and budgets of one request, from its arrival to its record."""

    __slots__ = ("_booth", "_caller", "_permit", "_spending", "_tokens", "account", "is_over")

    def __init__(self, booth: Tollbooth, caller: Caller, account: Account | None) -> None:
        self._booth = booth
        self._caller = caller
        self._permit: Permit | None = None
        self._spending = None if account is None else Spending(account.hard, account.windows)
        self._tokens: int | None = None
        self.account = account
        """None without budgets."""
        self.is_over = False

    def enter(self, request: ChatRequest) -> None:
        """Count the request against the limits of its key.

        Raises:
            RateLimitedError: one is reached.
        """
        if is_limited(self._caller):
            answer = self._booth.expected_output_tokens
            if request.max_output_tokens is not None:
                answer = min(answer, request.max_output_tokens)
            tokens = request.prompt_tokens_estimate + answer * request.choice_count
            self._permit = self._booth.limiter.enter(self._caller, tokens)

    async def pay(
        self, request: ChatRequest, candidates: Sequence[Candidate], at: datetime
    ) -> Sequence[Candidate]:
        """Reserve what the dearest candidate may cost; those that may be tried.

        Raises:
            BudgetExceededError: a budget does not hold what the cheapest may cost.
            RateLimitedError: what it holds could not be confirmed in time.
        """
        account, spending, booth = self.account, self._spending, self._booth
        if account is None or spending is None:
            return candidates
        bounds: dict[str, int] = {}
        if account.hard:
            key_id = self._caller.key_id
            bounds = attempt_bounds(
                request,
                candidates,
                at=at,
                rules=booth.rules,
                learned=lambda model: booth.learned(key_id, model),
                is_strict=account.is_strict,
            )
        return await booth.purse.admit(account, spending, bounds, candidates)

    def begin(self, start: AttemptStart) -> Reservation | None:
        """Cover an attempt before it begins; None without budgets.

        Raises:
            BudgetExceededError: what is left does not cover it.
        """
        if self._spending is None:
            return None
        return self._spending.begin(start.number, start.endpoint.id)

    def guard(
        self, start: AttemptStart, request: ChatRequest, note: Callable[[Reservation], None]
    ) -> StreamGuard | None:
        """What keeps an attempt that streams within its reservation; None where nothing is to be.

        Args:
            start: of the attempt.
            request: whose answer it is.
            note: told of each larger reservation.
        """
        account, spending, price = self.account, self._spending, start.price
        if account is None or spending is None or not spending.hard or price is None:
            return None
        booth, asked = self._booth, request.max_output_tokens
        worst = worst_nano_estimator(
            prompt_tokens=request.prompt_tokens_estimate,
            web_searches=1 if "web_search" in request.needs else 0,
        )
        prompt_nusd, mtok_nusd = worst(price, 0), worst(price, _MTOK)
        if prompt_nusd is None or mtok_nusd is None or mtok_nusd <= prompt_nusd:
            # Free answers need no guard.
            return None
        reserved = spending.reservation_of(start.number).nusd
        at_most = None if asked is None else worst(price, asked * request.choice_count)
        return StreamGuard(
            booth.purse,
            spending,
            start.number,
            prompt_nusd=prompt_nusd,
            nusd_per_mtok=mtok_nusd - prompt_nusd,
            is_bounded=account.is_strict
            or (at_most is not None and reserved is not None and reserved >= at_most),
            bytes_per_token=booth.ratio_of(start.endpoint.model).output,
            note=note,
        )

    def cancel(self, start: AttemptStart) -> None:
        """The attempt did not begin after all."""
        if self._spending is not None:
            self._spending.cancel(start.number)

    def end(self, attempt: AttemptRecord) -> None:
        """Settle an attempt that is over."""
        usage = attempt.usage
        if usage is not None:
            self._tokens = (self._tokens or 0) + usage.total_tokens
        elif self._tokens is None:
            self._tokens = 0
        if self._spending is not None:
            cost_usd = attempt.cost.total_usd
            self._spending.end(attempt.number, None if cost_usd is None else to_nano_usd(cost_usd))

    def close(self) -> None:
        """The request is over: let go of what it held. Later calls change nothing."""
        if self.is_over:
            return
        self.is_over = True
        if self._spending is not None:
            self._spending.close()
            self._booth.purse.overruns += self._spending.overruns
        if self._permit is not None:
            # Without an attempt nothing was used.
            self._booth.limiter.leave(self._permit, self._tokens or 0)

    @property
    def charge(self) -> Charge | None:
        """What the record says was charged."""
        return None if self._spending is None else self._spending.charge

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the caller is told of soft budgets."""
        return () if self.account is None else self.account.warnings()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the caller is told of its rates."""
        permit = self._permit
        return [] if permit is None else rate_headers(permit.requests, permit.tokens_level)

    def explain(self, error: GatewayError) -> None:
        """Tell the rates with an error, and of a budget that routing found too small its state."""
        error.headers = (*error.headers, *self.headers)
        account = self.account
        if isinstance(error, BudgetExceededError) and account is not None and account.hard:
            error.should_retry = False
            if "limit_usd" not in error.metadata:
                tightest = min(account.hard, key=lambda one: one.headroom or 0)
                explain(error, tightest)
                self._booth.purse.refused += 1
