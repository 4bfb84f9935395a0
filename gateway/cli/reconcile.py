"""``tollway reconcile``: a provider's own account against what was recorded here."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from gateway.cli.catalogues import every_table
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, in_usd, note, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.settings.values import Settings
from gateway.storage.adjustments import first_attempt_day
from gateway.storage.provider_totals import (
    ReportedTotals,
    read_provider_totals,
    read_reported_totals,
)
from gateway.storage.rows import FIRST_DAY, LAST_DAY
from pricing.cost import sum_known
from pricing.importers.provider_accounts import PROVIDERS, AccountError, read_account
from pricing.reconciling import Account, Drift
from pricing.reconciling import reconcile as compare

_MONTH = timedelta(days=30)
_READ_S = 300.0
_MAX_BYTES = 256 * 1024 * 1024


def reconcile(
    provider: str,
    /,
    *,
    file: Path | None = None,
    since: date | None = None,
    until: date | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare what a provider says it bills with what was recorded, by UTC day and model.

    With a file: what openai's or anthropic's cost and usage reports answer, as JSON (pages as they
    come, or in a list), or CSV with the same columns. A drift is told with what explains it:
    requests missing on one side, other usage, another price, rounding, or the boundary between two
    days. Without one: the costs that the provider told with its answers, as OpenRouter does, beside
    what the tables make of the same usage.

    Args:
        provider: openai or anthropic; without a file any that tells its costs.
        file: their export.
        since: the first UTC day to compare; default: the first in the export, else 30 days ago.
        until: the last one; default: the last in the export, else today.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    if file is not None and provider not in PROVIDERS:
        raise CommandError(f"{provider!r} is not known; known are {', '.join(PROVIDERS)}")
    settings = settings_of(config, data_dir)
    theirs = None if file is None else _read(provider, file)
    first, last = _days(theirs, since, until)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        kept_since = ask(database.url, first_attempt_day)
        if theirs is None:
            found = _told(database.url, provider, first, last)
            if not found:
                _check_provider(settings, provider)
            _print_told(found, provider, first, last, as_json=as_json)
        else:
            _compare_account(database.url, provider, theirs, first, last, as_json=as_json)
    if kept_since is None or first < kept_since:
        since_when = "none are kept" if kept_since is None else f"they are kept since {kept_since}"
        # What programs read has no place for it.
        tell = note if as_json else say
        tell(f"Single records are needed for this, and {since_when} here.")


def _days(
    theirs: list[Account] | None, since: date | None, until: date | None
) -> tuple[date, date]:
    if theirs is None:
        last = until or datetime.now(UTC).date()
        first = since or last - _MONTH
    else:
        first = since or min(one.day for one in theirs)
        last = until or max(one.day for one in theirs)
    if last < first:
        raise CommandError("--until must not be before --since")
    # Records are from no other years, and days beside the first and last there are do not exist.
    return max(first, FIRST_DAY), min(last, LAST_DAY)


def _compare_account(
    url: str, provider: str, theirs: list[Account], first: date, last: date, *, as_json: bool
) -> None:
    ours = ask(
        url,
        lambda connection: read_provider_totals(connection, provider, first=first, last=last),
        within_s=_READ_S,
    )
    found = compare([one for one in theirs if first <= one.day <= last], ours)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _told(url: str, provider: str, first: date, last: date) -> list[ReportedTotals]:
    return ask(
        url,
        lambda connection: read_reported_totals(connection, provider, first=first, last=last),
        within_s=_READ_S,
    )


def _check_provider(settings: Settings, provider: str) -> None:
    """Nothing was told by it: perhaps since there is none of that name."""
    known = every_table(settings).providers
    if provider not in known:
        raise CommandError(f"{provider!r} is not known; known are {', '.join(sorted(known))}")


def _print_told(
    found: list[ReportedTotals], provider: str, first: date, last: date, *, as_json: bool
) -> None:
    if as_json:
        print_json(found)
        return
    if not found:
        say(
            f"{provider} told no cost with its answers from {first} to {last}; "
            "compare with an export of its account: --file."
        )
        return
    print_table(
        ["day", "model", "attempts", "theirs", "ours", "difference", "off by > 1 %", "no price"],
        [
            (
                one.day,
                one.model,
                one.attempts,
                one.theirs_usd,
                one.ours_usd,
                one.difference_usd,
                one.adrift,
                one.unpriced,
            )
            for one in found
        ],
    )
    theirs = sum_known(*(one.theirs_usd for one in found)) or Decimal(0)
    difference = sum_known(*(one.difference_usd for one in found)) or Decimal(0)
    say(
        f"{sum(one.attempts for one in found)} attempts told {in_usd(theirs)}; "
        f"{in_usd(difference)} more than the tables say, and "
        f"{sum(one.adrift for one in found)} of them are off by more than 1 %."
    )


def _read(provider: str, file: Path) -> list[Account]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise CommandError(f"{file} has more than {_MAX_BYTES} bytes; export fewer days")
        return read_account(provider, file.read_bytes())
    except OSError as exc:
        raise CommandError(f"{file} cannot be read: {exc.strerror}") from exc
    except AccountError as exc:
        raise CommandError(f"{file}: {exc}") from exc


def _print(found: tuple[Drift, ...]) -> None:
    print_table(
        ["day", "model", "theirs", "ours", "difference", "what", "because"],
        [
            (
                one.day,
                one.model or "none",
                None if one.theirs is None else one.theirs.cost_usd,
                None if one.ours is None else one.ours.cost_usd,
                one.difference_usd,
                one.verdict.replace("_", " "),
                one.because,
            )
            for one in found
        ],
    )
    theirs = [one.theirs.cost_usd for one in found if one.theirs and one.theirs.cost_usd]
    ours = [one.ours.cost_usd for one in found if one.ours and one.ours.cost_usd]
    their_sum, our_sum = sum_known(*theirs) or Decimal(0), sum_known(*ours) or Decimal(0)
    counts = ", ".join(
        f"{verdict.replace('_', ' ')}: {count}"
        for verdict, count in Counter(one.verdict for one in found).most_common()
    )
    say(
        f"Theirs {in_usd(their_sum)}, ours {in_usd(our_sum)} over {len(found)} days and models "
        f"({counts})."
    )
