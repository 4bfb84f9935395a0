"""What may be chosen in filters, and every provider that was ever tried."""

import polars as pl
import streamlit as st
from sqlalchemy import Text, func, literal, literal_column, select, union_all

from dashboard.schemas import DIMENSIONS, PROVIDERS_SEEN
from dashboard.source import read_statement
from gateway.storage.coarse_tables import COARSE
from gateway.storage.rollup_tables import v_label_set, v_provider_seen
from gateway.storage.tables import v_api_key, v_rule_set

_DAYS = next(one.view for one in COARSE if one.table.name == "usage_attempt_day")
_MOST_OPTIONS = 500
_OPTIONS_S = 300


@st.cache_data(ttl=_OPTIONS_S, max_entries=1, show_spinner=False)
def read_dimensions() -> pl.DataFrame:
    """`DIMENSIONS`: what may be chosen in filters, over all time."""
    names = func.jsonb_each_text(v_label_set.c.labels).table_valued("key", "value")
    parts = [
        select(literal("provider", Text).label("kind"), v_provider_seen.c.provider.label("value")),
        select(literal("model", Text), _DAYS.c.model).distinct(),
        select(literal("key", Text), v_api_key.c.name).distinct(),
        select(literal("rule", Text), v_rule_set.c.version).distinct(),
        select(literal("label", Text), names.c.key + "=" + names.c.value)
        .select_from(v_label_set.join(names, literal_column("true")))
        .distinct(),
    ]
    found = union_all(*(part.limit(_MOST_OPTIONS) for part in parts)).subquery()
    return read_statement(select(found.c.kind, found.c.value), DIMENSIONS)


@st.cache_data(ttl=_OPTIONS_S, max_entries=1, show_spinner=False)
def read_providers_seen() -> list[str]:
    """Every provider that was ever tried, the first one first."""
    seen = v_provider_seen.c
    statement = select(seen.provider).order_by(seen.first_seen_at, seen.provider)
    return read_statement(statement, PROVIDERS_SEEN)["provider"].to_list()
