"""Statements behind prices, keys and budgets: bounded in time, over roll-ups alone."""

from datetime import datetime
from typing import Any

import polars as pl
import streamlit as st
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import BIGINT

from dashboard.schemas import USD, UTC_INSTANT, Schema
from dashboard.source import FRESH_S, read_statement
from gateway.storage.rollup_tables import TOKEN_GROUPS, v_usage_attempt

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
"""What each key spent; `cost_usd` is what is known, and `last_at` right to a quarter of an hour."""

SPEND_OVER_TIME: Schema = {"key_id": pl.String(), "at": UTC_INSTANT, "cost_usd": USD}
"""What each key is known to have spent by hour or day of UTC."""

_MOST_UNPRICED = 30
_MOST_MODELS = 200
_SUCCESS = "success"


@st.cache_data(ttl=FRESH_S, max_entries=32, show_spinner=False)
def read_unpriced(start: datetime, end: datetime) -> pl.DataFrame:
    """`UNPRICED` of a period; at most 30."""
    usage = v_usage_attempt.c
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
        .where(_within(usage.at, start, end))
        .group_by(usage.provider, usage.model, usage.endpoint)
        .having(unpriced > 0)
        .order_by(unpriced.desc(), usage.endpoint)
        .limit(_MOST_UNPRICED)
    )
    return read_statement(statement, UNPRICED)


@st.cache_data(ttl=FRESH_S, max_entries=32, show_spinner=False)
def read_token_mix(start: datetime, end: datetime) -> pl.DataFrame:
    """`TOKEN_MIX` of a period; the 200 busiest models."""
    usage = v_usage_attempt.c
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
        .where(_within(usage.at, start, end), usage.outcome == cast(literal(_SUCCESS, Text), Text))
        .group_by(usage.model)
        .order_by(attempts.desc(), usage.model)
        .limit(_MOST_MODELS)
    )
    return read_statement(statement, TOKEN_MIX)


@st.cache_data(ttl=FRESH_S, max_entries=32, show_spinner=False)
def read_key_spend(start: datetime, end: datetime) -> pl.DataFrame:
    """`KEY_SPEND` of a period, over every attempt, failed ones included."""
    usage = v_usage_attempt.c
    statement: _Select = (
        select(
            cast(usage.key_id, Text).label("key_id"),
            cast(func.sum(usage.attempts), BIGINT).label("attempts"),
            cast(func.sum(usage.cost_usd), Text).label("cost_usd"),
            cast(func.sum(usage.unpriced), BIGINT).label("unpriced"),
            func.max(usage.at).label("last_at"),
        )
        .where(_within(usage.at, start, end))
        .group_by(usage.key_id)
    )
    return read_statement(statement, KEY_SPEND)


@st.cache_data(ttl=FRESH_S, max_entries=16, show_spinner=False)
def read_spend_over_time(start: datetime, end: datetime, grain: str) -> pl.DataFrame:
    """`SPEND_OVER_TIME` by ``hour`` or ``day`` of UTC: what is known of each key's spending."""
    usage = v_usage_attempt.c
    rows = (
        select(
            usage.key_id,
            func.date_trunc(cast(literal(grain, Text), Text), usage.at, "UTC").label("at"),
            usage.cost_usd,
        )
        .where(_within(usage.at, start, end))
        .subquery()
    )
    statement: _Select = select(
        cast(rows.c.key_id, Text).label("key_id"),
        rows.c.at,
        cast(func.sum(rows.c.cost_usd), Text).label("cost_usd"),
    ).group_by(rows.c.key_id, rows.c.at)
    return read_statement(statement, SPEND_OVER_TIME)


def _within(at: ColumnElement[datetime], start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(at >= _instant(start), at < _instant(end))


def _instant(value: datetime) -> ColumnElement[datetime]:
    return cast(literal(value.isoformat(), Text), DateTime(timezone=True))
