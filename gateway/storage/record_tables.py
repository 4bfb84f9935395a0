"""Requests and their attempts, what corrects their costs, and how far they were shipped.

`request_record` and `attempt_record` are partitioned by the UTC day inside the request's UUIDv7, so
that replaying a record always meets its own row and an id is looked up in one partition.
Columns carry the names of the fields of `gateway.domain.records`, with one exception: `user` is
`end_user` here, because an unquoted `user` in PostgreSQL silently means the database role.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.storage.table_kinds import Instant, Usd, is_money, metadata, view_of_table
from pricing.usage import METERS

MAX_FRAME_BYTES = (1 << 20) + 1024
"""The most that a dead letter keeps: a spool frame's largest payload and what it is wrapped in."""


def cost_column(meter: str) -> str:
    """The column of `attempt_record` with the cost line of a meter of `pricing.usage.Usage`."""
    return f"cost_{meter.removesuffix('_tokens')}_usd"


COST_COLUMNS: tuple[str, ...] = tuple(cost_column(meter) for meter in METERS)

request_record = Table(
    "request_record",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("requested_model", Text, nullable=False),
    Column("requested_provider", Text),
    Column("used_model", Text),
    Column("used_provider", Text),
    Column("used_endpoint", Text),
    Column("underlying_used_model", Text),
    Column("status_code", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error_kind", Text),
    Column("is_fallback", Boolean, nullable=False),
    Column("ttft_ms", Double),
    Column("duration_ms", Double, nullable=False),
    Column("overhead_ms", Double),
    Column("finish_reason", Text),
    Column("end_user", Text),
    Column("session_id", Text),
    Column("warnings", ARRAY(Text), nullable=False),
    Column("attempts_count", Integer, nullable=False),
    # Totals over the attempts, inclusive as `Usage` says; NULL when nothing was metered.
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cost_usd", Usd),
    Column("cost_status", Text, nullable=False),
    Column("rule_version", Text),
    Column("catalogue_version", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("plan", JSONB, nullable=False),
    # What the caller said of its own request, in `metadata`; `labels` are the operator's.
    Column("tags", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # What the answer would have cost at the operator's baseline; NULL where that cannot be told.
    Column("baseline_cost_usd", Usd),
    # With credentials that it brought along: its cost is no spending of the operator.
    Column("is_paid_by_caller", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint(is_money("cost_usd"), name="cost_is_money"),
    CheckConstraint(is_money("baseline_cost_usd"), name="baseline_is_money"),
    # Rows arrive nearly in time order, so a block-range index finds a period and costs almost
    # nothing per row. The latest rows come by the primary key: ids are ordered by time.
    Index(None, "received_at", postgresql_using="brin"),
    Index(None, "key_id", "received_at"),
    Index(None, "session_id", "received_at", postgresql_where=text("session_id IS NOT NULL")),
    # By id, so that a page of somebody's newest requests is read in its order.
    Index(None, "end_user", "id", postgresql_where=text("end_user IS NOT NULL")),
    postgresql_partition_by="RANGE (day)",
)

attempt_record = Table(
    "attempt_record",
    metadata,
    Column("request_id", Uuid, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("started_at", Instant, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("kind", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("provider_model", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("upstream_id", Text),
    Column("ttft_ms", Double),
    Column("duration_ms", Double, nullable=False),
    Column("retry_after_ms", Double),
    Column("finish_reason", Text),
    Column("native_finish_reason", Text),
    Column("service_tier", Text),
    # NULL in every meter when nothing was metered; a meter that was not used is 0.
    Column("usage_source", Text),
    *(Column(meter, BigInteger) for meter in METERS),
    Column("cost_usd", Usd),
    Column("cost_status", Text, nullable=False),
    Column("cost_source", Text, nullable=False),
    Column("price_version", Text),
    Column("computed_cost_usd", Usd),
    # NULL where the meter has no cost line; the lines add up to the computed total.
    *(Column(column, Usd) for column in COST_COLUMNS),
    Column("is_paid_by_caller", Boolean, nullable=False, server_default=text("false")),
    # In the provider's own word, where its answer says so: prices may depend on it.
    Column("served_region", Text),
    CheckConstraint(
        is_money("cost_usd", "computed_cost_usd", *COST_COLUMNS), name="costs_are_money"
    ),
    Index(None, "started_at", postgresql_using="brin"),
    postgresql_partition_by="RANGE (day)",
)

PARTITIONED: tuple[Table, ...] = (request_record, attempt_record)

cost_adjustment = Table(
    "cost_adjustment",
    metadata,
    # Not partitioned: few attempts are ever corrected. Roll-ups have these amounts in them, so they
    # are forgotten with the attempts that they correct.
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("request_id", Uuid, nullable=False),
    Column("day", Date, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("old_cost_usd", Usd),
    Column("new_cost_usd", Usd, nullable=False),
    # What it adds to the known cost of its attempt; an unknown one counts as nothing until then.
    Column("difference_usd", Usd, nullable=False),
    # What it adds to the known cost of its request; NULL while that stays unknown.
    Column("request_difference_usd", Usd),
    Column("cost_status", Text, nullable=False),
    Column("price_version", Text),
    Column("lines", JSONB, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint(is_money("old_cost_usd", "new_cost_usd"), name="costs_are_money"),
    Index(None, "day", "request_id", "number"),
    Index(None, "key_id", "day"),
)

ship_watermark = Table(
    "ship_watermark",
    metadata,
    # One per spool writer: a late `updated_at` means stale, an old `last_record_at` merely idle.
    Column("worker", Text, primary_key=True),
    Column("updated_at", Instant, nullable=False),
    Column("segment", Text),
    Column("last_record_at", Instant),
    Column("oldest_unshipped_at", Instant),
    Column("backlog_bytes", BigInteger, nullable=False),
    # About so many, by how long records were of late: counting them would read them.
    Column("backlog_records", BigInteger, nullable=False, server_default=text("0")),
)

ingest_error = Table(
    "ingest_error",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("seen_at", Instant, nullable=False),
    Column("segment", Text, nullable=False),
    Column("frame_offset", BigInteger, nullable=False),
    Column("record_id", Uuid),
    Column("sqlstate", Text),
    Column("reason", Text, nullable=False),
    Column("frame", LargeBinary),
    # The same frame is set aside once, however often its segment is replayed.
    UniqueConstraint("segment", "frame_offset"),
    CheckConstraint(f"octet_length(frame) <= {MAX_FRAME_BYTES}", name="frame_is_bounded"),
)

health_event = Table(
    "health_event",
    metadata,
    # What routing believed of providers, change by change. Drawn from the change itself, so that a
    # batch that is sent twice is there once.
    Column("id", Uuid, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("node", Text, nullable=False),
    # `share` is one endpoint with one credential; see `gateway.execution.levels`.
    Column("level", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("endpoint", Text),
    # Its place among the provider's credentials, from 0; never anything of it.
    Column("credential", SmallInteger),
    Column("state", Text, nullable=False),
    # When it ends by itself: the time open, after which one attempt may probe, or the rest.
    Column("until", Instant),
    # The outcome of the attempt that caused it.
    Column("reason", Text),
    CheckConstraint("level IN ('origin', 'credential', 'target', 'share')", name="level_is_known"),
    CheckConstraint("state IN ('open', 'half_open', 'closed', 'cooling')", name="state_is_known"),
    Index(None, "at"),
)

v_request = view_of_table("v_request", request_record)
v_attempt = view_of_table("v_attempt", attempt_record)
v_cost_adjustment = view_of_table("v_cost_adjustment", cost_adjustment)
v_ship_watermark = view_of_table("v_ship_watermark", ship_watermark)
v_ingest_error = view_of_table("v_ingest_error", ingest_error, without=frozenset({"frame"}))
v_health_event = view_of_table("v_health_event", health_event)
