"""What commands about logged requests share: the installation as it is now, and a bar."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.catalogues import offered
from gateway.cli.printing import CommandError
from gateway.domain.caller import Caller
from gateway.ledger.replaying import EmptyPeriodError, Tell, period_of
from gateway.processes.data_directory import DataDirectory
from gateway.routing.logged import NotReplayed
from gateway.routing.plan import BalanceWeights
from gateway.routing.replaying import Installation
from gateway.routing.rules.drawing import split_salt
from gateway.settings.values import Settings
from pricing.operator_layer import PriceChange, apply_changes

NOT_REPLAYED: Mapping[NotReplayed, str] = {
    NotReplayed.NO_FACTS: "were recorded before decisions kept what was asked",
    NotReplayed.NO_PLAN: "found nobody to serve them, and the health of then is not kept",
    NotReplayed.OWN_PROVIDERS: "brought their own providers along",
    NotReplayed.KEY_UNKNOWN: "are of keys that are not in the database",
    NotReplayed.TOO_LONG: "named more than a record keeps",
    NotReplayed.HEADERS: "could meet a rule that asks for headers, which are not stored",
    NotReplayed.SPEED: "depend on measures of speed that are not stored",
    NotReplayed.EXCLUSIONS_CUT: "left out more endpoints than a record lists",
    NotReplayed.BUDGET: "were kept from endpoints by a budget, whose state is not stored",
    NotReplayed.AUTO_POOL: "chose from another `auto` pool than that of now",
    NotReplayed.UNREADABLE: "have plans of another version of the gateway",
}
"""Why requests cannot be decided again, for people; comes after their number."""


def installation_now(
    settings: Settings, changes: Sequence[PriceChange], callers: Mapping[UUID, Caller]
) -> Installation:
    """What decides logged requests again, by the configuration and the database."""
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    offer = offered(settings)
    return Installation(
        catalogue=apply_changes(offer.catalogue, changes),
        callers=callers,
        aliases=settings.aliases,
        slash_pins_provider=settings.routing.slash_pins_provider,
        configured_models=offer.configured_models,
        auto_pool=settings.routing.auto_models,
        fetches_media=settings.media.fetch,
        strategy=settings.routing.strategy,
        balance=BalanceWeights(**msgspec.structs.asdict(settings.routing.balance)),
        salt=split_salt(directory.pepper(settings.secret)),
    )


@contextmanager
def progress_of(what: str, *, quiet: bool) -> Generator[Tell]:
    """A bar on a terminal, told of each request."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("requests"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )
    task = bar.add_task("")

    async def tell(done: int, of: int) -> None:
        bar.update(task, completed=done, total=of)

    with bar:
        yield tell


def key_named(callers: Mapping[UUID, Caller], kid: str) -> UUID:
    """The key of that public part.

    Raises:
        CommandError: there is none.
    """
    for caller in callers.values():
        if caller.kid == kid:
            return caller.key_id
    raise CommandError(f"--key: there is no key {kid!r}; 'tollway keys list' shows them")


def period(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    """Both in UTC; the end is now unless it is given.

    Raises:
        CommandError: it ends before it begins.
    """
    try:
        return period_of(since, until)
    except EmptyPeriodError as exc:
        raise CommandError("--until must be later than --since") from exc
