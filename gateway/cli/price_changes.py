"""``tollway prices set``, ``discount``, ``disable``, ``revoke`` and ``history``."""

from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.catalogues import offered_tables
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.settings.values import Settings
from gateway.storage.engine import Connection
from gateway.storage.price_changes import add_price_change, load_price_changes, lock_prices
from pricing.catalogue import Catalogue, CatalogueError
from pricing.deciding import Decision, PriceWish, decide
from pricing.operator_layer import PriceChange, standing_changes
from pricing.price import Price

_ACTOR = "command line"

Reason = Annotated[str, Parameter(help="why, for the history")]
From = Annotated[
    datetime | None, Parameter(name="--from", help="when it begins, in UTC; default: now")
]
To = Annotated[datetime | None, Parameter(name="--to", help="when it ends, in UTC; default: never")]
DryRun = Annotated[bool, Parameter(negative="", help="only show what would change")]


def set_price(
    endpoint: str,
    /,
    *,
    reason: Reason,
    input: Annotated[str | None, Parameter(name="--input")] = None,  # noqa: A002
    output: str | None = None,
    cache_read: str | None = None,
    cache_write: str | None = None,
    cache_write_1h: str | None = None,
    reasoning: str | None = None,
    request: str | None = None,
    web_search: str | None = None,
    image: str | None = None,
    free: Annotated[bool, Parameter(negative="")] = False,
    flat: Annotated[bool, Parameter(negative="")] = False,
    effective_from: From = None,
    effective_to: To = None,
    dry_run: DryRun = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set what an endpoint costs; running gateways follow within a second.

    Rates that are not named stay as they are. Requests before the moment keep their cost;
    'tollway rerate' corrects them when a price is dated back.

    Args:
        endpoint: as 'tollway prices show MODEL' prints it.
        reason: for the history.
        input: USD per million tokens.
        output: the same.
        cache_read: the same.
        cache_write: the same, kept for five minutes.
        cache_write_1h: the same, kept for an hour.
        reasoning: the same.
        request: USD for each request.
        web_search: USD for each search.
        image: USD for each image made.
        free: amounts of 0 are meant.
        flat: drop the tiers, windows and regions of the price before.
        effective_from: when it begins.
        effective_to: when it ends.
        dry_run: only show what would change.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    named = {
        "input_usd_per_mtok": input,
        "output_usd_per_mtok": output,
        "cache_read_usd_per_mtok": cache_read,
        "cache_write_usd_per_mtok": cache_write,
        "cache_write_1h_usd_per_mtok": cache_write_1h,
        "reasoning_usd_per_mtok": reasoning,
        "request_usd": request,
        "web_search_usd": web_search,
        "image_usd": image,
    }
    wish = PriceWish(
        kind="price",
        target=endpoint,
        rates={name: amount for name, amount in named.items() if amount is not None},
        conditions="drop" if flat else "keep",
        free=free,
        effective_from=_utc(effective_from),
        effective_to=_utc(effective_to),
        reason=reason,
    )
    _change(wish, settings_of(config, data_dir), dry_run=dry_run, as_json=as_json)


def discount(
    target: str,
    factor: str,
    /,
    *,
    reason: Reason,
    effective_from: From = None,
    effective_to: To = None,
    dry_run: DryRun = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Multiply every amount of an endpoint, or of a provider, by a negotiated factor.

    An endpoint's own discount stands before its provider's, a later one before an earlier one.

    Args:
        target: an endpoint or a provider.
        factor: 0.9 for ten per cent off.
        reason: for the history.
        effective_from: when it begins.
        effective_to: when it ends.
        dry_run: only show what would change.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    wish = PriceWish(
        kind="discount",
        target=target,
        factor=factor,
        effective_from=_utc(effective_from),
        effective_to=_utc(effective_to),
        reason=reason,
    )
    _change(wish, settings_of(config, data_dir), dry_run=dry_run, as_json=as_json)


def disable(
    target: str,
    /,
    *,
    reason: Reason,
    effective_from: From = None,
    effective_to: To = None,
    dry_run: DryRun = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Switch an endpoint, or all of a provider, off; 'tollway prices revoke' switches it on again.

    Args:
        target: an endpoint or a provider.
        reason: for the history.
        effective_from: when it begins.
        effective_to: when it ends.
        dry_run: only show what would change.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    wish = PriceWish(
        kind="disable",
        target=target,
        effective_from=_utc(effective_from),
        effective_to=_utc(effective_to),
        reason=reason,
    )
    _change(wish, settings_of(config, data_dir), dry_run=dry_run, as_json=as_json)


def revoke(
    change: str,
    /,
    *,
    reason: Reason,
    effective_from: From = None,
    dry_run: DryRun = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a change that was made here, now or at another moment; what was before holds again.

    Args:
        change: its number, as 'tollway prices history' shows it.
        reason: for the history.
        effective_from: when it ends.
        dry_run: only show what would change.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    wish = PriceWish(
        kind="revoke", target=change, effective_from=_utc(effective_from), reason=reason
    )
    _change(wish, settings_of(config, data_dir), dry_run=dry_run, as_json=as_json)


def history(
    target: str | None = None,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what was decided here about prices, newest first.

    Args:
        target: only this endpoint or provider.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        changes = ask(database.url, load_price_changes)
    standing = {change.id for change in standing_changes(changes)}
    chosen = [one for one in reversed(changes) if target is None or one.target == target]
    if as_json:
        print_json(chosen)
        return
    if not chosen:
        about = "" if target is None else f" about {target}"
        say(f"Nothing was decided here{about}; what holds is what the tables say.")
        return
    print_table(
        ["id", "what", "target", "from", "to", "stands", "by", "reason"],
        [
            (
                one.id,
                one.kind if one.factor is None else f"{one.kind} x {one.factor.normalize():f}",
                one.target,
                _minute(one.effective_from),
                None if one.effective_to is None else _minute(one.effective_to),
                "yes" if one.id in standing else None,
                one.recorded_by,
                one.reason,
            )
            for one in chosen
        ],
    )


def _change(wish: PriceWish, settings: Settings, *, dry_run: bool, as_json: bool) -> None:
    tables = offered_tables(settings)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        try:
            decision, recorded = ask(
                database.url, lambda connection: _record(connection, wish, tables, dry_run=dry_run)
            )
        except CatalogueError as exc:
            raise CommandError(str(exc)) from exc
    if as_json:
        print_json({"change": recorded, "effects": decision.effects})
        return
    print_table(
        ["endpoint", "input", "then", "output", "then", "serves"],
        [
            (
                effect.endpoint,
                _rate(effect.before, "input_usd_per_mtok"),
                _rate(effect.after, "input_usd_per_mtok"),
                _rate(effect.before, "output_usd_per_mtok"),
                _rate(effect.after, "output_usd_per_mtok"),
                "no" if effect.is_disabled else "yes",
            )
            for effect in decision.effects
        ],
    )
    begins = _minute(decision.change.effective_from)
    if recorded is None:
        say(f"Nothing was recorded; it would hold from {begins} on.")
    else:
        say(f"Change {recorded.id} holds from {begins} on.")


async def _record(
    connection: Connection, wish: PriceWish, tables: Catalogue, *, dry_run: bool
) -> tuple[Decision, PriceChange | None]:
    await lock_prices(connection)
    changes = await load_price_changes(connection)
    decision = decide(wish, tables, changes, at=datetime.now(UTC), actor=_ACTOR)
    if dry_run:
        return decision, None
    decided = decision.change
    return decision, await add_price_change(connection, decided)


def _utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _rate(price: Price | None, name: str) -> Any:  # noqa: ANN401 - a cell
    return None if price is None else getattr(price, name)
