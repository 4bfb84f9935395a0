"""Statements behind prices, keys and budgets: bounded in time, over roll-ups alone."""

from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
import streamlit as st
from sqlalchemy import (
    Select,
    Text,
    Uuid,
    any_,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT

from dashboard.grains import sums_between
from dashboard.schemas import USD, UTC_INSTANT, Schema
from dashboard.source import FRESH_S, as_instant, read_statement
from gateway.storage.coarse_tables import DAY, HOUR
from gateway.storage.rollup_tables import TOKEN_GROUPS, usage_attempt
from gateway.storage.tables import v_api_key, v_budget, v_budget_period

_Select = Select[*tuple[Any, ...]]

UNPRICED: Schema = {
    "provider": pl.String(),
    "model": pl.String(),
    "endpoint": pl.String(),
    "attempts": pl.Int64(),
    "unpriced": pl.Int64(),
    "tokens": pl.Int64(),
    "first_at": UTC_INSTANT,
    "last_at": UTC_INSTANT,
}
"""Endpoints that answered at a cost that nobody knows, the busiest first."""

TOKEN_MIX: Schema = {
    "model": pl.String(),
    "attempts": pl.Int64(),
    **{f"{group}_tokens": pl.Int64() for group in TOKEN_GROUPS},
}
"""What was read and written by model, the busiest first, of attempts that answered."""

KEY_SPEND: Schema = {
    "key_id": pl.String(),
    "attempts": pl.Int64(),
    "cost_usd": USD,
    "unpriced": pl.Int64(),
    "last_at": UTC_INSTANT,
}
"""What each key spent; `cost_usd` is what is known, and `last_at` right to an hour."""

KEY_USE: Schema = {
    "key_id": pl.String(),
    "attempts": pl.Int64(),
    "cost_usd": USD,
    "unpriced": pl.Int64(),
    "last_at": UTC_INSTANT,
}
"""`KEY_SPEND` of a month, with ``last_at`` of longer ago too."""

KEY_LABELS: Schema = {
    "id": pl.String(),
    "kid": pl.String(),
    "name": pl.String(),
    "labels": pl.String(),
}
"""Every key with its labels in JSON, revoked ones included: whose spending a budget counts."""

SPEND_OVER_TIME: Schema = {"at": UTC_INSTANT, "cost_usd": USD}
"""What keys together are known to have spent by hour or day of UTC, in the order of time."""

BUDGET_WINDOWS: Schema = {
    "since": UTC_INSTANT,
    "spent_nusd": pl.Int64(),
    "told_percent": pl.Int64(),
}
"""Windows of a budget, newest first: what was spent in each, and the highest threshold told."""

_MOST_UNPRICED = 30
_MOST_MODELS = 200
_MOST_WINDOWS = 12
_UUIDS = ARRAY(Uuid)
_SUCCESS = "success"
_ENDPOINT = ("provider", "model", "endpoint")
_WIDTHS = {"hour": HOUR, "day": DAY}


@st.cache_data(ttl=FRESH_S, max_entries=32, show_spinner=False)
def read_unpriced(start: datetime, end: datetime) -> pl.DataFrame:
    """`UNPRICED` of a period; at most 30."""
    usage = sums_between(usage_attempt, start, end, _ENDPOINT, width=HOUR).c
    unpriced = func.sum(usage.unpriced)
    statement: _Select = (
        select(
            usage.provider,
            usage.model,
            usage.endpoint,
            cast(func.sum(usage.attempts), BIGINT).label("attempts"),
            cast(unpriced, BIGINT).label("unpriced"),
            cast(func.sum(usage.input_tokens + usage.output_tokens), BIGINT).label("tokens"),
            func.min(usage.at).label("first_at"),
            func.max(usage.at).label("last_at"),
        )
        .group_by(usage.provider, usage.model, usage.endpoint)
        .having(unpriced > 0)
        .order_by(unpriced.desc(), usage.endpoint)
        .limit(_MOST_UNPRICED)
    )
    return read_statement(statement, UNPRICED)


@st.cache_data(ttl=FRESH_S, max_entries=32, show_spinner=False)
def read_token_mix(start: datetime, end: datetime) -> pl.DataFrame:
    """`TOKEN_MIX` of a period; the 200 busiest models."""
    usage = sums_between(usage_attempt, start, end, ("model", "outcome")).c
    attempts = func.sum(usage.attempts)
    statement: _Select = (
        select(
            usage.model,
            cast(attempts, BIGINT).label("attempts"),
            *(
                cast(func.sum(usage[f"{group}_tokens"]), BIGINT).label(f"{group}_tokens")
                for group in TOKEN_GROUPS
            ),
        )
        .where(usage.outcome == cast(literal(_SUCCESS, Text), Text))
        .group_by(usage.model)
        .order_by(attempts.desc(), usage.model)
        .limit(_MOST_MODELS)
    )
    return read_statement(statement, TOKEN_MIX)


@st.cache_data(ttl=FRESH_S, max_entries=64, show_spinner=False)
def read_key_spend(start: datetime, end: datetime) -> pl.DataFrame:
    """`KEY_SPEND` of a period, over every attempt, failed ones included."""
    usage = sums_between(usage_attempt, start, end, ("key_id",), width=HOUR).c
    statement: _Select = select(
        cast(usage.key_id, Text).label("key_id"),
        cast(func.sum(usage.attempts), BIGINT).label("attempts"),
        cast(func.sum(usage.cost_usd), Text).label("cost_usd"),
        cast(func.sum(usage.unpriced), BIGINT).label("unpriced"),
        func.max(usage.at).label("last_at"),
    ).group_by(usage.key_id)
    return read_statement(statement, KEY_SPEND)


@st.cache_data(ttl=FRESH_S, max_entries=16, show_spinner=False)
def read_key_use(since: datetime, month: datetime, end: datetime) -> pl.DataFrame:
    """`KEY_USE`: what was spent in ``[month, end)``, and when each was used in ``[since, end)``."""
    first = min(since, month).replace(minute=0, second=0, microsecond=0)
    usage = sums_between(usage_attempt, first, end, ("key_id",), width=HOUR).c
    is_of_month = usage.at >= as_instant(month)
    statement: _Select = select(
        cast(usage.key_id, Text).label("key_id"),
        cast(func.sum(usage.attempts).filter(is_of_month), BIGINT).label("attempts"),
        cast(func.sum(usage.cost_usd).filter(is_of_month), Text).label("cost_usd"),
        cast(func.sum(usage.unpriced).filter(is_of_month), BIGINT).label("unpriced"),
        func.max(usage.at).label("last_at"),
    ).group_by(usage.key_id)
    return read_statement(statement, KEY_USE)


@st.cache_data(ttl=FRESH_S, max_entries=1, show_spinner=False)
def read_key_labels() -> pl.DataFrame:
    """`KEY_LABELS`."""
    key = v_api_key.c
    statement: _Select = select(
        cast(key.id, Text).label("id"), key.kid, key.name, cast(key.labels, Text).label("labels")
    )
    return read_statement(statement, KEY_LABELS)


@st.cache_data(ttl=FRESH_S, max_entries=16, show_spinner=False)
def read_spend_over_time(
    start: datetime, end: datetime, grain: str, keys: tuple[str, ...] | None
) -> pl.DataFrame:
    """`SPEND_OVER_TIME` by ``hour`` or ``day``, of the keys with these ids; None is all of them."""
    dimensions = () if keys is None else ("key_id",)
    usage = sums_between(usage_attempt, start, end, dimensions, width=_WIDTHS[grain]).c
    at = func.date_trunc(cast(literal(grain, Text), Text), usage.at, "UTC").label("at")
    rows = select(at, usage.cost_usd)
    if keys is not None:
        wanted = cast(literal("{" + ",".join(str(UUID(key)) for key in keys) + "}", Text), _UUIDS)
        rows = rows.where(usage.key_id == any_(wanted))
    spent = rows.subquery()
    statement: _Select = (
        select(spent.c.at, cast(func.sum(spent.c.cost_usd), Text).label("cost_usd"))
        .group_by(spent.c.at)
        .order_by(spent.c.at)
    )
    return read_statement(statement, SPEND_OVER_TIME)


@st.cache_data(ttl=FRESH_S, max_entries=32, show_spinner=False)
def read_budget_windows(name: str) -> pl.DataFrame:
    """`BUDGET_WINDOWS` of the budget that has this name now; the latest 12."""
    period, budget = v_budget_period.c, v_budget.c
    statement: _Select = (
        select(
            period.since,
            cast(period.spent_nusd, BIGINT).label("spent_nusd"),
            cast(period.told_percent, BIGINT).label("told_percent"),
        )
        .join_from(v_budget_period, v_budget, budget.id == period.budget_id)
        .where(budget.name == cast(literal(name, Text), Text), budget.deleted_at.is_(None))
        .order_by(period.since.desc())
        .limit(_MOST_WINDOWS)
    )
    return read_statement(statement, BUDGET_WINDOWS)
