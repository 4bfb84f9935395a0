"""Prices that a public list proposes: stored until somebody accepts or refuses them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.decision_tables import audit_entry, price_proposal
from gateway.storage.price_changes import add_price_change, load_price_changes, lock_prices
from pricing.catalogue import Catalogue
from pricing.deciding import PriceWish, decide
from pricing.errors import CatalogueError
from pricing.importers.conditions import is_conditional
from pricing.importers.proposals import PriceProposal, RateDifference
from pricing.operator_layer import PriceChange, apply_changes, without_discounts

ProposalStatus: TypeAlias = Literal["open", "accepted", "refused", "superseded"]


_ENDPOINT = "endpoint"
"""Under which the terms of a new offer hold all of it."""


class StoredProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal and what became of it."""

    id: int
    created_at: datetime
    source: str
    source_version: str
    target: str
    effective_from: datetime | None
    """None: from the moment on at which it is accepted."""
    rates: dict[str, str]
    terms: dict[str, Any] | None
    endpoint: dict[str, Any] | None = None
    """Of an offer that is new here: the endpoint that it becomes."""
    differences: tuple[RateDifference, ...]
    gates: tuple[str, ...]
    status: ProposalStatus
    decided_at: datetime | None = None
    decided_by: str | None = None
    comment: str | None = None
    change_id: int | None = None
    """The change of prices that it became."""


class ProposalError(Exception):
    """A proposal that cannot be decided; says why."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a list's proposals."""

    added: int
    known: int
    """Open already, the same."""
    refused_before: int
    """Somebody said no to the same amounts."""
    superseded: int


async def store_proposals(
    connection: AsyncConnection,
    source: str,
    source_version: str,
    proposals: Sequence[PriceProposal],
    *,
    looked_at: Sequence[str],
    at: datetime,
) -> Stored:
    """Keep what a list proposes; what it does not propose any more is superseded.

    Args:
        connection: in a transaction, which the caller commits.
        source: the list.
        source_version: of what was read.
        proposals: one for an endpoint at most.
        looked_at: the endpoints that were compared.
        at: now, aware UTC.
    """
    await lock_prices(connection)
    columns = price_proposal.c
    rows = await connection.execute(
        select(price_proposal)
        .where(columns.source == source, columns.status.in_(("open", "refused")))
        .order_by(columns.id)
    )
    before = [_read(row) for row in rows.mappings()]
    opened = {one.target: one for one in before if one.status == "open"}
    refused = {(one.target, _content(one)) for one in before if one.status == "refused"}
    wanted = {one.target: one for one in proposals}
    kept = {
        target
        for target, one in wanted.items()
        if target in opened and _content(opened[target]) == _content(one)
    }
    new = [
        one
        for target, one in wanted.items()
        if target not in kept and (target, _content(one)) not in refused
    ]
    old = [
        one.id
        for target, one in opened.items()
        if target not in kept and target in {*looked_at, *wanted}
    ]
    if old:
        await connection.execute(
            update(price_proposal)
            .where(columns.id.in_(old))
            .values(status="superseded", decided_at=at)
        )
    if new:
        await connection.execute(
            insert(price_proposal), [_row(one, source, source_version, at) for one in new]
        )
    return Stored(
        added=len(new),
        known=len(kept),
        refused_before=len(wanted) - len(kept) - len(new),
        superseded=len(old),
    )


async def list_proposals(
    connection: AsyncConnection, *, status: ProposalStatus | None = "open", limit: int = 1_000
) -> list[StoredProposal]:
    """Proposals, newest first; a status of None means all."""
    statement = select(price_proposal).order_by(price_proposal.c.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(price_proposal.c.status == status)
    return [_read(row) for row in (await connection.execute(statement)).mappings()]


async def accept_proposal(
    connection: AsyncConnection,
    number: int,
    tables: Catalogue,
    *,
    at: datetime,
    actor: str,
    comment: str | None = None,
) -> PriceChange:
    """Put a proposal in force as a change of the operator's; the caller commits.

    Args:
        connection: in a transaction.
        number: of the proposal.
        tables: what changes are laid over.
        at: now: from when on it holds.
        actor: who accepts.
        comment: for the history.

    Raises:
        ProposalError: there is none that is open, or the price has changed since it was made.
        CatalogueError: its price breaks a rule.
    """
    await lock_prices(connection)
    proposal = await _open(connection, number)
    changes = await load_price_changes(connection)
    _check_fresh(proposal, apply_changes(tables, without_discounts(changes)), at)
    wish = _wish(proposal, _reason(proposal, comment))
    decided = decide(wish, tables, changes, at=at, actor=actor).change
    change = await add_price_change(connection, decided)
    await _close(connection, proposal, "accepted", at, actor, comment, int(change.id))
    return change


def _wish(proposal: StoredProposal, reason: str) -> PriceWish:
    if proposal.endpoint is not None:
        return PriceWish(
            kind="endpoint", target=proposal.target, endpoint=proposal.endpoint, reason=reason
        )
    return PriceWish(
        kind="price",
        target=proposal.target,
        rates={} if proposal.terms is not None else proposal.rates,
        terms=proposal.terms,
        free=any(Decimal(amount) == 0 for amount in proposal.rates.values()),
        effective_from=proposal.effective_from,
        reason=reason,
    )


async def refuse_proposal(
    connection: AsyncConnection, number: int, *, at: datetime, actor: str, comment: str
) -> StoredProposal:
    """Say no: the same amounts are not proposed again by the same list.

    Raises:
        ProposalError: there is none that is open, or no reason was given.
    """
    if not comment.strip():
        raise ProposalError("the reason is missing; say why, for the history")
    await lock_prices(connection)
    proposal = await _open(connection, number)
    await _close(connection, proposal, "refused", at, actor, comment.strip(), None)
    await connection.execute(
        insert(audit_entry).values(
            at=at,
            actor=actor,
            action="proposal.refuse",
            subject=proposal.target,
            after={"id": proposal.id, "source": proposal.source, "reason": comment.strip()},
        )
    )
    return proposal


async def _open(connection: AsyncConnection, number: int) -> StoredProposal:
    rows = await connection.execute(
        select(price_proposal).where(price_proposal.c.id == number).with_for_update()
    )
    row = rows.mappings().one_or_none()
    if row is None:
        raise ProposalError(f"there is no proposal {number}; 'tollway prices proposals' lists them")
    proposal = _read(row)
    if proposal.status != "open":
        raise ProposalError(f"proposal {number} was {proposal.status} already")
    return proposal


async def _close(  # noqa: PLR0917 - one row
    connection: AsyncConnection,
    proposal: StoredProposal,
    status: ProposalStatus,
    at: datetime,
    actor: str,
    comment: str | None,
    change_id: int | None,
) -> None:
    await connection.execute(
        update(price_proposal)
        .where(price_proposal.c.id == proposal.id)
        .values(
            status=status, decided_at=at, decided_by=actor, comment=comment, change_id=change_id
        )
    )


def _check_fresh(proposal: StoredProposal, believed: Catalogue, at: datetime) -> None:
    endpoint = believed.endpoints_by_id.get(proposal.target)
    if proposal.endpoint is not None:
        if endpoint is not None:
            raise ProposalError(
                f"{proposal.target} is offered here since proposal {proposal.id} was made; "
                "import again"
            )
        return
    if endpoint is None:
        raise CatalogueError(
            f"`{proposal.target}` is no endpoint that serves here",
            remedy="enable its provider, or refuse the proposal",
            key="target",
        )
    held = next((version for version in endpoint.prices if version.holds_at(at)), None)
    for one in proposal.differences:
        if is_conditional(one.rate):
            continue
        now = None if held is None else getattr(held.base, one.rate)
        if now != one.before:
            raise ProposalError(
                f"the price of {proposal.target} has changed since proposal {proposal.id} was "
                f"made: {one.rate} is {now}, not {one.before}; import again"
            )


def _reason(proposal: StoredProposal, comment: str | None) -> str:
    changes = ", ".join(
        f"{one.rate} {'unknown' if one.before is None else f'{one.before:f}'} -> {one.after:f}"
        for one in proposal.differences
    )
    said = f"{proposal.source} {proposal.source_version}, proposal {proposal.id}: {changes}"
    return f"{comment.strip()} ({said})" if comment and comment.strip() else said


def _content(proposal: PriceProposal | StoredProposal) -> str:
    """By which two proposals are the same."""
    told = [(one.rate, one.before, one.after) for one in proposal.differences]
    return msgspec.json.encode([sorted(told, key=str), list(proposal.gates)]).decode()


def _row(
    proposal: PriceProposal, source: str, source_version: str, at: datetime
) -> dict[str, object]:
    return {
        "created_at": at,
        "source": source,
        "source_version": source_version,
        "target": proposal.target,
        "effective_from": None,
        "rates": proposal.rates,
        "terms": proposal.terms if proposal.endpoint is None else {_ENDPOINT: proposal.endpoint},
        "differences": msgspec.to_builtins(proposal.differences),
        "gates": list(proposal.gates),
        "status": "open",
    }


def _read(row: RowMapping) -> StoredProposal:
    fields = {name: row[name] for name in StoredProposal.__struct_fields__ if name != _ENDPOINT}
    terms: dict[str, Any] | None = row["terms"]
    if terms is not None and _ENDPOINT in terms:
        fields |= {"terms": None, _ENDPOINT: terms[_ENDPOINT]}
    return msgspec.convert(fields, StoredProposal)
