"""Reads what somebody should look at: budgets nearly spent, open breakers, waiting proposals."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import streamlit as st
from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import BIGINT, distinct_on

from dashboard.schemas import UTC_INSTANT, Schema
from dashboard.source import FRESH_S, as_instant, as_literal, read_statement
from gateway.storage.tables import (
    v_api_key,
    v_budget,
    v_budget_period,
    v_health_event,
    v_price_proposal,
)

_Select = Select[*tuple[Any, ...]]

BUDGETS: Schema = {
    "name": pl.String(),
    "period": pl.String(),
    "key": pl.String(),
    "labels": pl.String(),
    "mode": pl.String(),
    "limit_nusd": pl.Int64(),
    "spent_nusd": pl.Int64(),
}
"""Budgets in force with what is spent in their window of now, in billionths of a dollar.

``key`` is the name of the key whose spending counts, ``labels`` those of the keys; neither is
everybody's.
"""

BREAKERS: Schema = {
    "provider": pl.String(),
    "endpoint": pl.String(),
    "state": pl.String(),
    "until": UTC_INSTANT,
    "reason": pl.String(),
}
"""Providers and endpoints that are being left alone."""

PROPOSALS: Schema = {"proposals": pl.Int64()}

_PERIODS = ("day", "week", "month")
_LOOKED_BACK = timedelta(days=1)


@st.cache_data(ttl=FRESH_S, max_entries=4, show_spinner=False)
def read_budgets(now: datetime) -> pl.DataFrame:
    """`BUDGETS` at an aware instant."""
    budget, period = v_budget.c, v_budget_period.c
    # Windows begin at midnight UTC, weeks on Monday, as `gateway.domain.budgets` has them.
    begins: ColumnElement[Any] = case(
        *(
            (
                budget.period == name,
                func.date_trunc(as_literal(name), as_instant(now), as_literal("UTC")),
            )
            for name in _PERIODS
        )
    )
    is_now = or_(budget.period.not_in(_PERIODS), period.since == begins)
    spent = (
        select(func.max(period.spent_nusd))
        .where(period.budget_id == budget.id, is_now)
        .scalar_subquery()
    )
    statement: _Select = (
        select(
            budget.name,
            budget.period,
            v_api_key.c.name.label("key"),
            cast(budget.labels, Text).label("labels"),
            budget.mode,
            budget.limit_nusd,
            cast(func.coalesce(spent, literal_column("0")), BIGINT).label("spent_nusd"),
        )
        .select_from(v_budget.outerjoin(v_api_key, v_api_key.c.id == budget.key_id))
        .where(budget.deleted_at.is_(None))
        .order_by(budget.name)
    )
    return read_statement(statement, BUDGETS)


@st.cache_data(ttl=FRESH_S, max_entries=4, show_spinner=False)
def read_breakers(now: datetime) -> pl.DataFrame:
    """`BREAKERS` at an aware instant: by the last word on each, of any node."""
    event = v_health_event.c
    latest = (
        select(event.provider, event.endpoint, event.state, event.until, event.reason)
        .ext(distinct_on(event.node, event.level, event.provider, event.endpoint, event.credential))
        .where(event.at >= as_instant(now - _LOOKED_BACK), event.at <= as_instant(now))
        .order_by(
            event.node,
            event.level,
            event.provider,
            event.endpoint,
            event.credential,
            event.at.desc(),
        )
        .subquery()
        .c
    )
    is_open = and_(
        latest.state.in_(["open", "cooling"]),
        or_(latest.until.is_(None), latest.until > as_instant(now)),
    )
    statement: _Select = (
        select(latest.provider, latest.endpoint, latest.state, latest.until, latest.reason)
        .where(is_open)
        .order_by(latest.provider, latest.endpoint, latest.state)
    )
    return read_statement(statement, BREAKERS)


@st.cache_data(ttl=FRESH_S, max_entries=1, show_spinner=False)
def read_open_proposals() -> int:
    """How many proposed prices nobody has decided about."""
    statement: _Select = select(cast(func.count(), BIGINT).label("proposals")).where(
        v_price_proposal.c.status == "open"
    )
    return int(read_statement(statement, PROPOSALS)["proposals"].sum())
