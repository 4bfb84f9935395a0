"""``tollway budgets``: limits on what keys spend."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, TypeVar

from cyclopts import App, Parameter
from msgspec import UNSET

from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, in_usd, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.domain.budgets import BudgetMode, BudgetPeriod
from gateway.domain.wishes import WishError
from gateway.storage.budget_changes import BudgetChange, change_budget
from gateway.storage.budget_issue import BudgetWish, issue_budget
from gateway.storage.budget_views import BudgetView, view_budget, view_budgets
from gateway.storage.budgets import delete_budget, release_expired
from gateway.storage.engine import Connection
from pricing.cost import from_nano_usd

T = TypeVar("T")
budgets = App(name="budgets", help="Limit what keys may spend.")
_ACTOR = "command line"


@budgets.command
def create(
    name: str,
    limit_usd: str,
    /,
    *,
    key: str | None = None,
    label: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    everyone: bool = False,
    per: BudgetPeriod = "month",
    mode: BudgetMode = "hard",
    strict: bool = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a budget; running gateways enforce it within a second.

    It counts what requests cost that begin from then on.

    Args:
        name: what it is called.
        limit_usd: in USD, as 250 or 0.50.
        key: for one key, by its id as 'tollway keys list' shows it.
        label: for every key with this name=value; may be repeated, and then all must be there.
        everyone: for every key there is.
        per: days, weeks (from Monday) and months are those of UTC; total never begins anew.
        mode: hard refuses with 402, soft warns in a header, shadow only counts.
        strict: reserve the longest answer that is possible, so that nothing is ever spent beyond.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    wish = BudgetWish(
        name=name,
        limit_usd=_amount(limit_usd),
        period=per,
        kid=key,
        labels=_labels(label),
        everyone=everyone,
        mode=mode,
        strict=strict,
    )

    async def make(connection: Connection) -> BudgetView | None:
        made = await issue_budget(connection, wish, actor=_ACTOR)
        return await view_budget(connection, made.name, made.created_at)

    view = _ask(config, data_dir, make, quiet=as_json)
    if as_json:
        print_json(view)
    else:
        say(f"Made the budget {name}: {in_usd(wish.limit_usd)}, {_per(per)}, {mode}.")


@budgets.command(name="list")
def list_all(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all budgets and how they stand."""
    now = datetime.now(UTC)
    views = _ask(config, data_dir, lambda c: view_budgets(c, now), quiet=as_json)
    if as_json:
        print_json(views)
        return
    print_table(
        ["name", "for", "window", "mode", "limit USD", "spent USD", "left USD", "begins anew"],
        [
            (
                view.name,
                _whom(view),
                _per(view.period),
                view.mode + " strict" * view.strict,
                view.limit_usd,
                view.spent_usd,
                view.remaining_usd,
                None if view.resets_at is None else f"{view.resets_at:%Y-%m-%d %H:%M} UTC",
            )
            for view in views
        ],
    )


@budgets.command
def show(
    name: str, /, *, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Show one budget in full.

    Args:
        name: as 'tollway budgets list' shows it.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    now = datetime.now(UTC)
    view = _there(name, _ask(config, data_dir, lambda c: view_budget(c, name, now), quiet=as_json))
    if as_json:
        print_json(view)
        return
    resets = "never" if view.resets_at is None else f"{view.resets_at:%Y-%m-%d %H:%M} UTC"
    print_table(
        ["", view.name],
        [
            ("for", _whom(view)),
            ("window", f"{_per(view.period)}, begins anew: {resets}"),
            ("mode", view.mode + ", strict" * view.strict),
            ("limit USD", view.limit_usd),
            ("spent USD", view.spent_usd),
            ("left USD", view.remaining_usd),
            ("held by workers USD", view.leased_usd),
            ("of that expired USD", view.expired_usd),
            ("made", f"{view.created_at:%Y-%m-%d %H:%M} UTC by {view.created_by}"),
        ],
    )


@budgets.command
def change(
    name: str,
    /,
    *,
    limit_usd: str | None = None,
    mode: BudgetMode | None = None,
    strict: bool | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change a budget; what is not given stays. Running gateways follow within a second.

    Its window and whose spending it limits stay: make another budget for them.

    Args:
        name: as 'tollway budgets list' shows it, or its id.
        limit_usd: in USD.
        mode: hard refuses with 402, soft warns in a header, shadow only counts.
        strict: reserve the longest answer that is possible.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    wish = BudgetChange(
        limit_usd=UNSET if limit_usd is None else _amount(limit_usd),
        mode=UNSET if mode is None else mode,
        strict=UNSET if strict is None else strict,
    )
    if wish == BudgetChange():
        raise CommandError("say what to change: --limit-usd, --mode or --strict")
    now = datetime.now(UTC)

    async def work(connection: Connection) -> BudgetView | None:
        changed = await change_budget(connection, name, wish, at=now, actor=_ACTOR)
        return None if changed is None else await view_budget(connection, str(changed.id), now)

    view = _there(name, _ask(config, data_dir, work, quiet=as_json))
    if as_json:
        print_json(view)
    else:
        strictly = ", strict" * view.strict
        say(f"{view.name}: {in_usd(view.limit_usd)}, {_per(view.period)}, {view.mode}{strictly}.")


@budgets.command
def release(
    name: str, /, *, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Give back what nodes hold of a budget that are gone for good, with their disks.

    What they spent of it and never told is then beyond the limit.

    Args:
        name: as 'tollway budgets list' shows it.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    now = datetime.now(UTC)
    nusd = _there(
        name,
        _ask(
            config,
            data_dir,
            lambda c: release_expired(c, name, at=now, actor=_ACTOR),
            quiet=as_json,
        ),
    )
    if as_json:
        print_json({"released_usd": from_nano_usd(nusd)})
    else:
        say(f"Released {in_usd(from_nano_usd(nusd))} of {name}.")


@budgets.command
def delete(
    name: str, /, *, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Delete a budget; running gateways forget it within a second.

    Args:
        name: as 'tollway budgets list' shows it.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    now = datetime.now(UTC)
    gone = _there(
        name,
        _ask(
            config, data_dir, lambda c: delete_budget(c, name, at=now, actor=_ACTOR), quiet=as_json
        ),
    )
    if as_json:
        print_json(gone)
    else:
        say(f"Deleted the budget {name}.")


def _ask(
    config: Config,
    data_dir: DataDir,
    work: Callable[[Connection], Awaitable[T]],
    *,
    quiet: bool,
) -> T:
    with Database(settings_of(config, data_dir), quiet=quiet) as database:
        bring_up_to_date(database.url)
        try:
            return ask(database.url, work)
        except WishError as exc:
            raise CommandError(str(exc)) from exc


def _there(name: str, found: T | None) -> T:
    if found is None:
        raise CommandError(f"there is no budget {name!r}; 'tollway budgets list' shows them")
    return found


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise CommandError(f"{text!r} is no amount in USD; write it as 250 or 0.50") from None


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--label {pair}: labels are written name=value")
        labels[name] = value
    return labels


def _per(period: BudgetPeriod) -> str:
    return "in all" if period == "total" else f"per {period}"


def _whom(view: BudgetView) -> str:
    if view.everyone:
        return "everyone"
    if view.labels:
        return " ".join(f"{name}={value}" for name, value in sorted(view.labels.items()))
    return f"key {view.kid or '(gone)'}"
