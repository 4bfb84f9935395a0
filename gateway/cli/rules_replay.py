"""``tollway rules replay``: what a file of rules would have changed about logged requests."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gateway.cli.database import Database, ask
from gateway.cli.logged import NOT_REPLAYED, installation_now, key_named, period, progress_of
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, in_usd, print_json, print_table, say
from gateway.cli.rules import checked_rules, errors_of, listed, rules_in_force
from gateway.cli.schema import bring_up_to_date
from gateway.ledger.replaying import MOST_REQUESTS, USUAL_REQUESTS, replay_rules
from gateway.routing.replaying import Installation
from gateway.routing.replaying_report import MoveRow, NotPriced, ReplayReport
from gateway.routing.rules.rule_set import RuleSet
from gateway.storage.asking import Asker
from gateway.storage.engine import shown_url
from gateway.storage.price_changes import load_price_changes
from gateway.storage.replay_rows import Window, read_callers
from gateway.storage.waiting import DatabaseUnavailableError

_PAGE_S = 30.0
_SHOWN_MOVES = 20
_NOT_PRICED: Mapping[NotPriced, str] = {
    "refused": "one side refuses them",
    "not_answered": "nobody answered, so that there is no usage",
    "no_price": "an endpoint has no price for that time",
}


def replay(
    *,
    file: Annotated[Path, Parameter(name=["--file", "-f"])],
    since: datetime,
    until: datetime | None = None,
    sample: int = USUAL_REQUESTS,
    key: str | None = None,
    model: str | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Decide logged requests again, to see what a file of rules would have changed.

    The newest requests of the period are decided twice, under the rules in force and under those of
    the file. Nobody is asked for anything, and nothing is changed.

    Args:
        file: the rules to be tried, in TOML.
        since: from when on, in UTC: 2026-11-01 or 2026-11-01T12:00:00.
        until: until when, exclusive; default: now.
        sample: how many requests at most, the newest of the period.
        key: only those of this key, by its public part.
        model: only those for this model, as it was typed or as it answered.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    if not 1 <= sample <= MOST_REQUESTS:
        raise CommandError(f"--sample must be between 1 and {MOST_REQUESTS}")
    begin, end = period(since, until)
    settings = settings_of(config, data_dir)
    tried, problems = checked_rules(file, settings)
    if tried is None or errors_of(problems):
        raise CommandError(listed(errors_of(problems)))
    in_force = rules_in_force(settings, quiet=as_json).rules
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        callers = ask(database.url, read_callers)
        here = installation_now(settings, ask(database.url, load_price_changes), callers)
        window = Window(
            since=begin,
            until=end,
            key_id=None if key is None else key_named(callers, key),
            model=model,
        )
        report = asyncio.run(
            _run(database.url, window, here, in_force, tried, sample=sample, quiet=as_json)
        )
    if as_json:
        print_json(report)
    else:
        _print(report)


async def _run(
    database_url: str,
    window: Window,
    here: Installation,
    old: RuleSet,
    new: RuleSet,
    *,
    sample: int,
    quiet: bool,
) -> ReplayReport:
    database = Asker(database_url, within_s=_PAGE_S, application_name="tollway rules replay")
    try:
        with progress_of("deciding again", quiet=quiet) as tell:
            return await replay_rules(database, window, here, old, new, sample=sample, tell=tell)
    except DatabaseUnavailableError as exc:
        raise CommandError(f"the database at {shown_url(database_url)}: {exc}") from exc
    finally:
        await database.aclose()


def _print(report: ReplayReport) -> None:
    if not report.requests:
        say("There are no logged requests in this period.")
        return
    which = "all" if report.is_complete else "the newest"
    say(
        f"Looked at {which} {report.requests:,} requests, back to "
        f"{report.oldest_at:%Y-%m-%d %H:%M} UTC; decided {report.replayed:,} of them again."
    )
    if report.changed_share is not None:
        say(f"{report.changed:,} ({report.changed_share:.1%}) would have gone elsewhere:")
    _print_moves([row for row in report.moves if row.from_ != row.to])
    if report.newly_refused or report.no_longer_refused:
        say(
            f"{report.newly_refused:,} would be refused that are not now, "
            f"{report.no_longer_refused:,} would be served that are refused now."
        )
    _print_costs(report)
    for reason, count in report.not_replayed.items():
        say(f"Not decided again: {count:,} {NOT_REPLAYED[reason]}.")
    compared = report.reproduced
    if compared.requests:
        say(
            f"As a check: of {compared.requests:,} requests decided under the very rules in force, "
            f"{compared.same:,} get the endpoint again that they got then."
        )
    if report.examples:
        print_table(
            ["request", "in force", "under the file", "cost", "cost then", "rules"],
            [
                (
                    one.id,
                    one.from_ or f"refused: {one.refusal}",
                    one.to or f"refused: {one.refusal}",
                    one.old_cost_usd,
                    one.new_cost_usd,
                    ", ".join(one.new_rules) or None,
                )
                for one in report.examples
            ],
            title="Examples",
        )


def _print_moves(moves: list[MoveRow]) -> None:
    if moves:
        print_table(
            ["in force", "under the file", "requests", "priced", "difference in USD"],
            [
                (
                    row.from_ or "refused",
                    row.to or "refused",
                    row.requests,
                    row.priced,
                    row.difference_usd,
                )
                for row in moves[:_SHOWN_MOVES]
            ],
        )
        if len(moves) > _SHOWN_MOVES:
            say(f"… and {len(moves) - _SHOWN_MOVES} rarer ways; --json has them.")


def _print_costs(report: ReplayReport) -> None:
    if not report.changed:
        return
    say(
        f"Of these, {report.priced:,} could be priced: {in_usd(report.old_cost_usd)} under the "
        f"rules in force, {in_usd(report.new_cost_usd)} under the file, a difference of "
        f"{in_usd(report.difference_usd, signed=True)}. All that was looked at cost "
        f"{in_usd(report.recorded_cost_usd)}."
    )
    for reason, count in report.not_priced.items():
        say(f"Without a difference of cost: {count:,}, since {_NOT_PRICED[reason]}.")
