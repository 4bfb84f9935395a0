"""What callers are told of budgets: errors with what is left, and warnings. Pure."""

from typing import Any

from gateway.domain.budgets import BudgetPeriod
from gateway.domain.errors import BudgetExceededError, GatewayError, RateLimitedError
from gateway.ledger.budgets import Slice
from pricing.cost import from_nano_usd

_PERIODS: dict[BudgetPeriod, str] = {
    "day": " per day",
    "week": " per week",
    "month": " per month",
    "total": "",
}


def exceeded(one: Slice, bound_nusd: int | None = None) -> BudgetExceededError:
    """402: what is left of a budget, and when it begins anew."""
    error = BudgetExceededError("", should_retry=False)
    explain(error, one, bound_nusd)
    return error


def explain(error: GatewayError, one: Slice, bound_nusd: int | None = None) -> None:
    """Say in an error what is left of a budget, and when it begins anew."""
    limit_nusd, spent_nusd = one.budget.limit_nusd, one.spent_by_all or 0
    left_nusd = max(0, limit_nusd - spent_nusd)
    asked = "" if bound_nusd is None else f" (this request may cost up to {_usd(bound_nusd)} USD)"
    error.message = (
        f"the budget {one.budget.name!r} of {_usd(limit_nusd)} USD{_PERIODS[one.budget.period]} "
        f"does not hold this request{asked}: {_usd(spent_nusd)} USD are spent, of the other "
        f"{_usd(left_nusd)} USD {_usd(max(0, min(left_nusd, one.headroom or 0)))} USD are not "
        f"reserved{_anew(one)}"
    )
    error.args = (error.message,)
    until = one.window.until
    told: dict[str, Any] = {
        "budget": one.budget.name,
        "period": one.budget.period,
        "limit_usd": from_nano_usd(limit_nusd).normalize(),
        "spent_usd": from_nano_usd(spent_nusd).normalize(),
        "remaining_usd": from_nano_usd(left_nusd).normalize(),
        "resets_at": None if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}",
    }
    if bound_nusd is not None:
        told["request_usd_at_most"] = from_nano_usd(bound_nusd).normalize()
    error.metadata |= told


def unbounded(one: Slice) -> BudgetExceededError:
    """402: what cannot be bounded is nothing that a budget holds."""
    return BudgetExceededError(
        f"the budget {one.budget.name!r} is enforced, and nobody knows what this request may cost "
        "at any endpoint; set `max_tokens`, or have the operator give a price",
        code="cost_unknown",
        should_retry=False,
        metadata={"budget": one.budget.name},
    )


def unconfirmed(one: Slice) -> RateLimitedError:
    """429: there may be more, and nobody could say so in time."""
    return RateLimitedError(
        f"this worker has used up its share of the budget {one.budget.name!r}, and more of it "
        "could not be confirmed in time; try again in a moment",
        code="budget_unconfirmed",
        retry_after_s=1,
        should_retry=False,
        metadata={"budget": one.budget.name},
    )


def warning_of(one: Slice, *, percent: int, limit_nusd: int) -> str:
    """For the callers of a soft budget, of which so much is spent."""
    return (
        f"budget {one.budget.name}: {percent} % of {_usd(limit_nusd)} USD"
        f"{_PERIODS[one.budget.period]} are spent{_anew(one)}"
    )


def _anew(one: Slice) -> str:
    until = one.window.until
    return "" if until is None else f"; it begins anew at {until:%Y-%m-%d %H:%M} UTC"


def _usd(nusd: int) -> str:
    return f"{from_nano_usd(nusd).normalize():f}"
