"""``tollway reconcile``: a provider's own account against what was recorded here."""

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.storage.provider_totals import read_provider_totals
from pricing.cost import sum_known
from pricing.importers.provider_accounts import PROVIDERS, AccountError, read_account
from pricing.reconciling import Account, Drift
from pricing.reconciling import reconcile as compare

_MAX_BYTES = 256 * 1024 * 1024


def reconcile(
    provider: str,
    /,
    *,
    file: Path,
    since: date | None = None,
    until: date | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare what a provider says of an account with what was recorded, by UTC day and model.

    Takes what their cost and usage reports answer, as JSON (pages as they come, or in a list), or
    CSV with the same columns. A drift is told with what explains it: requests missing on one side,
    other usage, another price, rounding, or the boundary between two days.

    Args:
        provider: openai or anthropic.
        file: their export.
        since: the first UTC day to compare; default: the first in the export.
        until: the last one; default: the last in the export.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    if provider not in PROVIDERS:
        raise CommandError(f"{provider!r} is not known; known are {', '.join(PROVIDERS)}")
    theirs = _read(provider, file)
    first = since or min(one.day for one in theirs)
    last = until or max(one.day for one in theirs)
    if last < first:
        raise CommandError("--until must not be before --since")
    theirs = [one for one in theirs if first <= one.day <= last]
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        ours = ask(
            database.url,
            lambda connection: read_provider_totals(connection, provider, first=first, last=last),
        )
    found = compare(theirs, ours)
    if as_json:
        print_json(found)
    else:
        _print(found)


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
                one.model,
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
    counts = ", ".join(
        f"{verdict.replace('_', ' ')}: {count}"
        for verdict, count in Counter(one.verdict for one in found).most_common()
    )
    say(
        f"Theirs {sum_known(*theirs) or Decimal(0):f} USD, ours {sum_known(*ours) or Decimal(0):f} "
        f"USD over {len(found)} days and models ({counts})."
    )
