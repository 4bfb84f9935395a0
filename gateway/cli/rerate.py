"""``tollway rerate``: correct what recorded requests cost, under the prices believed now."""

import asyncio
import sys
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Annotated
from uuid import UUID

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.catalogues import every_table
from gateway.cli.database import Database, ask
from gateway.cli.logged import period
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, in_usd, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.ledger.rerating import RerateReport, rerate_span
from gateway.storage.adjustments import Span
from gateway.storage.asking import Asker
from gateway.storage.engine import shown_url
from gateway.storage.keys import list_keys
from gateway.storage.price_changes import load_price_changes
from gateway.storage.waiting import DatabaseUnavailableError
from pricing.catalogue import Catalogue
from pricing.nearest import Names
from pricing.operator_layer import apply_changes
from pricing.rerating import Verdict

_ACTOR = "command line"
_BATCH_S = 120.0
_MOST_NEAR = 3
_KEPT: dict[Verdict, str] = {
    "reported": "keep the cost that their provider told",
    "unmetered": "had no usage, or nobody saw their end",
    "unknown_endpoint": "are of endpoints that no table knows",
    "unpriced": "have no known price, and keep their cost",
    "paid_by_caller": "were paid by their callers, and keep their cost",
    "unchanged": "cost what was recorded",
}


def rerate(
    *,
    since: datetime,
    until: datetime | None = None,
    model: str | None = None,
    provider: str | None = None,
    reason: str = "re-rated under corrected prices",
    dry_run: Annotated[bool, Parameter(negative="", help="only show what would change")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compute again what requests cost, under the prices that are believed now for their time.

    Records stay as they are: a correction is added beside them, and counts wherever costs are
    added up. What a provider told of its own cost stays. Reaches as far as raw records are kept.

    Args:
        since: from when on, in UTC: 2026-11-01 or 2026-11-01T12:00:00.
        until: until when, exclusive; default: now.
        model: only this one, as openai/gpt-4o-mini.
        provider: only this one.
        reason: for whoever looks at a corrected cost.
        dry_run: only show what would change.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    now = datetime.now(UTC)
    begin, end = period(since, until or now)
    span = Span(since=begin, until=end, model=model, provider=provider)
    if not reason.strip():
        raise CommandError("--reason: say why, for whoever looks at a corrected cost")
    tables = every_table(settings)
    span = _checked(tables, span)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        changes = ask(database.url, load_price_changes)
        names = {key.id: key.name for key in ask(database.url, list_keys)}
        believed = apply_changes(tables, changes)
        report = asyncio.run(
            _run(database.url, believed, span, is_dry_run=dry_run, at=now, reason=reason.strip())
        )
    if as_json:
        print_json(report)
    else:
        _print(report, names)


async def _run(
    database_url: str,
    catalogue: Catalogue,
    span: Span,
    *,
    is_dry_run: bool,
    at: datetime,
    reason: str,
) -> RerateReport:
    database = Asker(database_url, within_s=_BATCH_S, application_name="tollway rerate")
    bar = Progress(
        TextColumn("re-rating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("attempts"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    task = bar.add_task("")
    try:
        with bar:
            return await rerate_span(
                database,
                catalogue,
                span,
                is_dry_run=is_dry_run,
                at=at,
                actor=_ACTOR,
                reason=reason,
                on_progress=lambda done, of: bar.update(task, completed=done, total=of),
            )
    except DatabaseUnavailableError as exc:
        raise CommandError(
            f"the database at {shown_url(database_url)}: {exc}; what was corrected until now "
            "stays, and the same command does the rest"
        ) from exc
    finally:
        await database.aclose()


def _checked(catalogue: Catalogue, span: Span) -> Span:
    """The span with the model by its own name, as records have it."""
    model = None if span.model is None else catalogue.model_named(span.model)
    if span.model is not None and model is None:
        raise CommandError(
            f"--model: no model is called {span.model!r}{_hint(catalogue, span.model)}"
        )
    if span.provider is not None and span.provider not in catalogue.providers:
        known = sorted(catalogue.providers)
        near = get_close_matches(span.provider, known, n=_MOST_NEAR)
        hint = f"nearest are {', '.join(near)}" if near else f"known are {', '.join(known)}"
        raise CommandError(f"--provider: {span.provider!r} is not known; {hint}")
    return msgspec.structs.replace(span, model=model)


def _hint(catalogue: Catalogue, name: str) -> str:
    """What may have been meant: of an endpoint, or of one that is called alike, its model."""
    endpoint = catalogue.endpoints_by_id.get(name)
    if endpoint is not None:
        return f"; the endpoint of that name serves {endpoint.model}"
    provider, _, _ = name.partition("/")
    alike = (
        Names(catalogue.endpoints_by_id).nearest(name) if provider in catalogue.providers else ()
    )
    models = [catalogue.endpoints_by_id[endpoint_id].model for endpoint_id in alike]
    near = list(dict.fromkeys([*models, *catalogue.nearest(name)]))[:_MOST_NEAR]
    return f"; nearest are {', '.join(near)}" if near else ""


def _print(report: RerateReport, names: dict[UUID, str]) -> None:
    if report.rows:
        print_table(
            ["day", "provider", "model", "key", "attempts", "recorded", "now", "difference"],
            [
                (
                    row.day,
                    row.provider,
                    row.model,
                    names.get(row.key_id, str(row.key_id)),
                    row.attempts,
                    row.old_usd,
                    row.new_usd,
                    row.difference_usd,
                )
                for row in report.rows
            ],
        )
    corrected = report.verdicts.get("adjusted", 0)
    verb = "would be corrected" if report.is_dry_run else "were corrected"
    say(f"{corrected} attempts {verb}; together {in_usd(report.difference_usd)}.")
    for verdict, what in _KEPT.items():
        if count := report.verdicts.get(verdict, 0):
            say(f"{count} {what}.")
    if report.unpriced_endpoints:
        say(f"Without a price at their time: {', '.join(report.unpriced_endpoints)}.")
    _print_reach(report.first_day, report)


def _print_reach(first: date | None, report: RerateReport) -> None:
    if first is None:
        say("No raw records are kept.")
    elif report.since.date() < first:
        say(f"Raw records are kept since {first}: what is older keeps its cost.")
    else:
        say(f"Raw records are kept since {first}.")
