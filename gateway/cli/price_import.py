"""``tollway prices import``, ``proposals``, ``accept`` and ``refuse``."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gateway.cli.catalogues import offered_tables
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.price_lists import get_price_list
from gateway.cli.printing import CommandError, print_json, print_table, say, shown
from gateway.cli.schema import bring_up_to_date
from gateway.storage.engine import Connection
from gateway.storage.price_changes import load_price_changes
from gateway.storage.proposals import (
    ProposalError,
    Stored,
    StoredProposal,
    accept_proposal,
    list_proposals,
    refuse_proposal,
    store_proposals,
)
from pricing.catalogue import Catalogue, CatalogueError
from pricing.importers.proposals import Comparison, PriceProposal, compare, propose_new
from pricing.operator_layer import PriceChange, apply_changes, without_discounts

_ACTOR = "command line"
Endpoints = Annotated[
    tuple[str, ...],
    Parameter(
        name="--accept",
        negative="",
        help="put what is proposed for this endpoint in force, gates or not; repeatable",
    ),
]


def import_prices(
    source: str,
    /,
    *,
    file: Path | None = None,
    provider: tuple[str, ...] = (),
    accept: Endpoints = (),
    new: Annotated[
        bool, Parameter(negative="", help="propose offers that are not known here, too")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="keep nothing")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare a public price list with what is believed here, and propose changes.

    Nothing changes by this: 'tollway prices accept' puts a proposal in force. Changes above 1.5
    times or below 0.67 times, to 0, by a slip of the unit, or found by a pattern have to be named.

    Args:
        source: genai-prices, models-dev or litellm.
        file: the list, where it was got otherwise; default: from the project's own address.
        provider: only this one; repeatable.
        accept: an endpoint whose proposal is accepted at once.
        new: propose offers of enabled providers that are not known here as endpoints of your own.
        dry_run: only show what would be proposed.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    now = datetime.now(UTC)
    tables = offered_tables(settings)
    unknown = [name for name in provider if name not in tables.providers]
    if unknown:
        raise CommandError(f"--provider: {unknown[0]!r} does not serve here")
    listed = get_price_list(source, file, now)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        # Lists know what is listed, before anything is taken off.
        changes = without_discounts(ask(database.url, load_price_changes))
        believed = apply_changes(tables, changes)
        found = compare(believed, listed.prices.lookup, at=now, providers=provider)
        offered = propose_new(
            believed, listed.prices, at=now, providers=provider or believed.providers
        )
        proposed = (*found.proposals, *(offered if new else ()))
        looked_at = [
            one.id
            for one in believed.endpoints_by_id.values()
            if not provider or one.provider in provider
        ]
        missing = [name for name in accept if name not in {one.target for one in proposed}]
        if missing:
            raise CommandError(f"--accept {missing[0]}: nothing is proposed for this endpoint")
        stored = None
        accepted: list[PriceChange] = []
        if not dry_run:
            stored = ask(
                database.url,
                lambda connection: store_proposals(
                    connection,
                    source,
                    listed.version,
                    proposed,
                    looked_at=looked_at,
                    at=now,
                ),
            )
            proposals = ask(database.url, list_proposals)
            numbers = [one.id for one in proposals if one.source == source and one.target in accept]
            accepted = [_accept(database.url, number, tables, None) for number in numbers]
    if as_json:
        print_json({"version": listed.version, "found": found, "stored": stored,
                    "new": offered if new else len(offered), "accepted": accepted})  # fmt: skip
        return
    _print_found(found, proposed, listed.version)
    if offered and not new:
        say(f"{len(offered)} offers of the list are not known here; --new proposes them.")
    _print_stored(stored, accepted)


def proposals(
    *,
    everything: Annotated[
        bool, Parameter(name="--all", negative="", help="decided ones too")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what price lists propose, newest first.

    Args:
        everything: accepted, refused and superseded ones too.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        status = None if everything else "open"
        found = ask(database.url, lambda connection: list_proposals(connection, status=status))
    if as_json:
        print_json(found)
        return
    print_table(
        ["id", "from", "endpoint", "differences", "look at", "state"],
        [
            (
                one.id,
                one.source,
                one.target,
                _differences(one),
                "; ".join(one.gates) or None,
                one.status,
            )
            for one in found
        ],
    )


def accept(
    numbers: tuple[int, ...] = (),
    /,
    *,
    everything: Annotated[
        bool, Parameter(name="--all", negative="", help="every open one without a gate")
    ] = False,
    comment: str | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put proposals in force, from now on; running gateways follow within a second.

    Args:
        numbers: as 'tollway prices proposals' shows them; gates do not hold up what is named.
        everything: every open proposal without a gate.
        comment: for the history.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    if bool(numbers) == everything:
        raise CommandError("name proposals by their numbers, or --all of them without a gate")
    settings = settings_of(config, data_dir)
    tables = offered_tables(settings)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        gated: list[StoredProposal] = []
        if everything:
            found = ask(database.url, list_proposals)
            gated = [one for one in found if one.gates]
            numbers = tuple(one.id for one in reversed(found) if not one.gates)
        changes = [_accept(database.url, number, tables, comment) for number in numbers]
    if as_json:
        print_json(changes)
        return
    for change in changes:
        say(f"{change.target}: change {change.id} is in force.")
    if gated:
        say(f"{len(gated)} with a gate wait for somebody who names them.")


def refuse(
    number: int,
    /,
    *,
    reason: Annotated[str, Parameter(help="why, for the history")],
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say no to a proposal; the same list does not propose the same amounts again.

    Args:
        number: as 'tollway prices proposals' shows it.
        reason: for the history.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        try:
            refused = ask(
                database.url,
                lambda connection: refuse_proposal(
                    connection, number, at=datetime.now(UTC), actor=_ACTOR, comment=reason
                ),
            )
        except ProposalError as exc:
            raise CommandError(str(exc)) from exc
    if as_json:
        print_json({"id": refused.id, "target": refused.target})
    else:
        say(f"Refused what {refused.source} proposes for {refused.target}.")


def _accept(database_url: str, number: int, tables: Catalogue, comment: str | None) -> PriceChange:
    async def work(connection: Connection) -> PriceChange:
        return await accept_proposal(
            connection, number, tables, at=datetime.now(UTC), actor=_ACTOR, comment=comment
        )

    try:
        return ask(database_url, work)
    except (ProposalError, CatalogueError) as exc:
        raise CommandError(f"proposal {number}: {exc}") from exc


def _differences(proposal: PriceProposal | StoredProposal) -> str:
    return ", ".join(
        f"{one.rate.removesuffix('_usd_per_mtok')} "
        f"{'?' if one.before is None else shown(one.before)} -> {shown(one.after)}"
        for one in proposal.differences
    )


def _print_found(found: Comparison, proposed: Sequence[PriceProposal], version: str) -> None:
    if proposed:
        print_table(
            ["endpoint", "differences", "look at"],
            [(one.target, _differences(one), "; ".join(one.gates) or None) for one in proposed],
        )
    say(
        f"{found.compared} endpoints compared with {version}, {len(found.proposals)} differ, "
        f"{found.unlisted} are not listed."
    )
    if found.passed_over:
        say(f"Prices by the hour are compared by hand: {', '.join(found.passed_over)}.")


def _print_stored(stored: Stored | None, accepted: list[PriceChange]) -> None:
    if stored is None:
        say("Nothing was kept.")
        return
    say(
        f"{stored.added} proposals are new, {stored.known} were known, "
        f"{stored.refused_before} were refused before, {stored.superseded} are superseded."
    )
    for change in accepted:
        say(f"{change.target}: change {change.id} is in force.")
    if not accepted and stored.added:
        say("Nothing changed: 'tollway prices accept' puts proposals in force.")
