"""Reads what the Reliability page needs: failures, examples of them, and changes of health."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import streamlit as st
from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    cast,
    false,
    func,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects import postgresql

from dashboard.clauses import narrowed, places, sum_of
from dashboard.grains import sums_of
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.periods import MINUTE_GRAIN_BELOW, Period
from dashboard.schemas import USD, UTC_INSTANT, Schema
from dashboard.source import FRESH_S, as_day, as_instant, as_literal, read_statement
from gateway.storage.rollup_tables import usage_attempt
from gateway.storage.tables import v_api_key, v_attempt, v_health_event

ERRORS: Schema = {
    "provider": pl.String(),
    "outcome": pl.String(),
    "attempts": pl.Int64(),
    "rescued": pl.Int64(),
    "unpriced": pl.Int64(),
    "cost_usd": USD,
    "first_at": UTC_INSTANT,
    "last_at": UTC_INSTANT,
}
"""Attempts by provider and what became of them; the instants are the beginnings of the minutes,
quarters or hours with the first and the last of them."""

EXAMPLES: Schema = {
    "provider": pl.String(),
    "outcome": pl.String(),
    "is_last": pl.Boolean(),
    "request_id": pl.String(),
    "started_at": UTC_INSTANT,
}
"""The first and the last attempt of a class."""

HEALTH: Schema = {
    "at": UTC_INSTANT,
    "node": pl.String(),
    "level": pl.String(),
    "provider": pl.String(),
    "endpoint": pl.String(),
    "credential": pl.Int64(),
    "state": pl.String(),
    "until": UTC_INSTANT,
    "reason": pl.String(),
}
"""Changes of health, in their order."""

MOST_CHANGES = 20_000
_MAX_ENTRIES = 64
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_OPEN_BEFORE = timedelta(hours=1)
"""Nothing is open for longer without another change."""


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_errors(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`ERRORS` of a period, successes included: they are what shares are of."""
    wanted = ("provider", "outcome", "kind")
    view = sums_of(usage_attempt, period, wanted, only, is_by_time=True)
    v = view.c
    statement = (
        select(
            v.provider.label("provider"),
            v.outcome.label("outcome"),
            sum_of(v.attempts).label("attempts"),
            sum_of(v.rescued).label("rescued"),
            sum_of(v.unpriced).label("unpriced"),
            cast(func.sum(v.cost_usd), Text).label("cost_usd"),
            func.min(v.at).label("first_at"),
            func.max(v.at).label("last_at"),
        )
        .where(v.kind != "shadow", *narrowed(view, only))
        .group_by(*places(2))
    )
    return read_statement(statement, ERRORS)


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_examples(
    classes: tuple[tuple[str, str, datetime, datetime], ...],
    period: Period,
    only: Narrowing = EVERYTHING,
) -> pl.DataFrame:
    """`EXAMPLES`: the first and the latest attempt of each class, where such rows are still kept.

    Args:
        classes: provider, outcome, ``first_at`` and ``last_at`` of rows of `ERRORS`.
        period: that they were read of.
        only: the same part of the traffic.
    """
    parts = [
        _example(provider, outcome, at, period, only, is_last=is_last)
        for provider, outcome, first_at, last_at in classes
        for at, is_last in ((first_at, False), (last_at, True))
    ]
    if not parts:
        return pl.DataFrame(schema=EXAMPLES)
    found = union_all(*parts).subquery()
    return read_statement(select(*found.c), EXAMPLES)


def _example(
    provider: str, outcome: str, at: datetime, period: Period, only: Narrowing, *, is_last: bool
) -> Select[*tuple[Any, ...]]:
    v = v_attempt.c
    end = at + _grain(period, only)
    found = (
        select(
            as_literal(provider).label("provider"),
            as_literal(outcome).label("outcome"),
            (true() if is_last else false()).label("is_last"),
            cast(v.request_id, Text).label("request_id"),
            v.started_at,
        )
        .where(
            v.provider == provider,
            v.outcome == outcome,
            v.kind != "shadow",
            v.started_at >= as_instant(max(at, period.start)),
            v.started_at < as_instant(min(end, period.end)),
            # The day is the request's, which may have begun on the one before.
            v.day.between(as_day(at.date() - _DAY), as_day(at.date())),
            *_narrowed_attempts(only),
        )
        .order_by(v.started_at.desc() if is_last else v.started_at)
        .limit(1)
        .subquery()
    )
    return select(*found.c)


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_health(period: Period, providers: tuple[str, ...] = ()) -> pl.DataFrame:
    """`HEALTH` of a period and of shortly before it; the latest where there are very many."""
    v = v_health_event.c
    statement = (
        select(
            v.at,
            v.node,
            v.level,
            v.provider,
            v.endpoint,
            cast(v.credential, postgresql.BIGINT).label("credential"),
            v.state,
            v.until,
            v.reason,
        )
        .where(v.at >= as_instant(period.start - _OPEN_BEFORE), v.at < as_instant(period.end))
        .order_by(v.at.desc(), v.id.desc())
        .limit(MOST_CHANGES)
    )
    if providers:
        statement = statement.where(v.provider.in_(list(providers)))
    return read_statement(statement, HEALTH).reverse()


def _grain(period: Period, only: Narrowing) -> timedelta:
    """What the instants of `ERRORS` are told to, at the most: see `dashboard.grains`."""
    if period.bucket < MINUTE_GRAIN_BELOW:
        return _MINUTE
    # Hours know keys and labels, or models; days know all of them.
    is_of_days = period.bucket >= _DAY and only.models and (only.keys or only.labels)
    return _DAY if is_of_days else _HOUR


def _narrowed_attempts(only: Narrowing) -> list[ColumnElement[bool]]:
    v = v_attempt.c
    conditions: list[ColumnElement[bool]] = []
    if only.models:
        conditions.append(v.model.in_(list(only.models)))
    if only.keys:
        keys = select(v_api_key.c.id).where(v_api_key.c.name.in_(list(only.keys)))
        conditions.append(v.key_id.in_(keys))
    for name, values in only.labels_by_name.items():
        label = func.jsonb_extract_path_text(v.labels, as_literal(name))
        conditions.append(label.in_(values))
    return conditions
