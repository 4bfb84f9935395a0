"""``tollway savings``: what requests would have cost at a baseline, less what they did cost."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from gateway.cli.catalogues import offered
from gateway.cli.database import Database
from gateway.cli.logged import NOT_REPLAYED, installation_now, period, progress_of
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, in_usd, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.ledger.baselines import Uncovered
from gateway.ledger.replaying import MOST_REQUESTS, USUAL_REQUESTS
from gateway.ledger.savings import By, SavingsReport, savings_against, savings_of_sums
from gateway.routing.replaying_history import NoneBefore
from gateway.settings.values import Settings
from gateway.storage.asking import Asker
from gateway.storage.engine import shown_url
from gateway.storage.price_changes import load_price_changes
from gateway.storage.replay_rows import Window, read_callers
from gateway.storage.waiting import DatabaseUnavailableError
from pricing.savings import DEAREST, PREVIOUS_RULES, Savings, find_endpoint

_PAGE_S = 30.0
_UNCOVERED: Mapping[str, str] = {
    Uncovered.NOT_ANSWERED: "were answered by nobody, so that there is no usage to compare",
    Uncovered.OWN_PROVIDERS: "were paid by their callers",
    Uncovered.UNPRICED: "have no known cost of their own",
    Uncovered.NO_PRICE: "have no price at the baseline",
    Uncovered.UNREADABLE: "have plans of another version of the gateway",
    Uncovered.REFUSED_BEFORE: "would have been refused by the rules before",
    Uncovered.RULES_BROKEN: "have rules before them that this version cannot read",
    NoneBefore.NO_RULES_YET: "came before there was a rule set",
    NoneBefore.RULES_UNKNOWN: "have rules that were never in the database",
    **NOT_REPLAYED,
}


def savings(
    *,
    since: datetime,
    until: datetime | None = None,
    by: By | None = None,
    baseline: str | None = None,
    sample: int = USUAL_REQUESTS,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what requests would have cost at a baseline, less what they did cost.

    Failed attempts count as cost, and savings may be negative. Without --baseline it is the one
    that was declared under [savings] when each request was answered, and all requests count.

    Args:
        since: from when on, in UTC: 2026-11-01 or 2026-11-01T12:00:00.
        until: until when, exclusive; default: now.
        by: also by day, provider, model or key.
        baseline: compare the newest records with 'dearest' (of those that might have answered),
            with 'previous-rules' (whoever would have served under the rule version before), or with
            an endpoint, as openai/gpt-4o.
        sample: with --baseline: how many records at most, the newest of the period.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    begin, end = period(since, until)
    if not 1 <= sample <= MOST_REQUESTS:
        raise CommandError(f"--sample must be between 1 and {MOST_REQUESTS}")
    settings = settings_of(config, data_dir)
    if baseline not in {None, DEAREST, PREVIOUS_RULES}:
        _check_endpoint(settings, baseline or "")
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        report = asyncio.run(
            _run(
                database.url,
                settings,
                Window(since=begin, until=end),
                baseline=baseline,
                by=by,
                sample=sample,
                quiet=as_json,
            )
        )
    if as_json:
        print_json(report)
    else:
        _print(report)


def _check_endpoint(settings: Settings, baseline: str) -> None:
    try:
        find_endpoint(baseline, offered(settings).catalogue)
    except LookupError as exc:
        raise CommandError(f"--baseline: {exc.args[0]}, nor {PREVIOUS_RULES!r}") from exc


async def _run(
    database_url: str,
    settings: Settings,
    window: Window,
    *,
    baseline: str | None,
    by: By | None,
    sample: int,
    quiet: bool,
) -> SavingsReport:
    database = Asker(database_url, within_s=_PAGE_S, application_name="tollway savings")
    try:
        if baseline is None:
            return await savings_of_sums(database, window.since, window.until, by=by)
        changes, callers = await database(load_price_changes), await database(read_callers)
        here = installation_now(settings, changes, callers)
        with progress_of("comparing", quiet=quiet) as tell:
            return await savings_against(
                database, window, here, baseline, by=by, sample=sample, tell=tell
            )
    except DatabaseUnavailableError as exc:
        raise CommandError(f"the database at {shown_url(database_url)}: {exc}") from exc
    finally:
        await database.aclose()


def _print(report: SavingsReport) -> None:
    total = report.total
    if not total.requests:
        say("There are no requests in this period.")
        return
    if report.rows:
        print_table(
            [report.by or "", "requests", "covered", "baseline", "cost", "saved", "not covered"],
            [
                (
                    row.name or row.group or "nobody served",
                    row.requests,
                    row.covered_requests,
                    row.baseline_usd,
                    row.cost_usd,
                    row.saved_usd,
                    row.uncovered_cost_usd,
                )
                for row in report.rows
            ],
        )
    _print_reach(report)
    if not total.covered_requests:
        say("Nothing can be compared.")
        if report.source == "sums":
            say(
                "No baseline was declared when these were answered: set `baseline` under [savings] "
                "in tollway.toml for those to come, or name one with --baseline."
            )
    else:
        verb = "less" if total.saved_usd >= 0 else "more"
        say(
            f"{in_usd(total.cost_usd)} were paid where {_named(report.baseline)} would have cost "
            f"{in_usd(total.baseline_usd)}: {in_usd(abs(total.saved_usd))} {verb}."
        )
    _print_coverage(report, total)


def _print_reach(report: SavingsReport) -> None:
    if report.source == "sums":
        say(f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC, all requests.")
        return
    which = "all" if report.is_complete else "the newest"
    say(
        f"Looked at {which} {report.total.requests:,} requests, back to "
        f"{report.oldest_at:%Y-%m-%d %H:%M} UTC."
    )


def _print_coverage(report: SavingsReport, total: Savings) -> None:
    known = total.cost_usd + total.uncovered_cost_usd
    money = f" and {_share(total.cost_usd, known)} of the known cost" if known else ""
    say(
        f"That covers {_share(Decimal(total.covered_requests), Decimal(total.requests))} of the "
        f"requests{money}."
    )
    if total.uncovered_cost_usd:
        say(f"{in_usd(total.uncovered_cost_usd)} were paid for others.")
    if total.unpriced_requests:
        say(f"The cost of {total.unpriced_requests:,} is not known.")
    for reason, count in report.uncovered.items():
        say(f"Not covered: {count:,} {_UNCOVERED[reason]}.")


def _share(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole:.1%}"


def _named(baseline: str) -> str:
    if baseline == "recorded":
        return "the declared baseline"
    return {DEAREST: "the dearest", PREVIOUS_RULES: "the rules before"}.get(baseline, baseline)
