"""The one description of our tables: statements are built from it, `migrations` builds them.

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
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pricing.usage import METERS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

MAX_FRAME_BYTES = (1 << 20) + 1024
"""The most that a dead letter keeps: a spool frame's largest payload and what it is wrapped in."""

USD_PRECISION, USD_SCALE = 24, 12
Usd = Numeric(USD_PRECISION, USD_SCALE)
Instant = DateTime(timezone=True)


def cost_column(meter: str) -> str:
    """The column of `attempt_record` with the cost line of a meter of `pricing.usage.Usage`."""
    return f"cost_{meter.removesuffix('_tokens')}_usd"


COST_COLUMNS: tuple[str, ...] = tuple(cost_column(meter) for meter in METERS)


def _is_money(*columns: str) -> str:
    # NUMERIC accepts NaN and sorts it above every number, so one of them would spoil every sum.
    return " AND ".join(f"{column} >= 0 AND {column} < 'NaN'::numeric" for column in columns)


api_key = Table(
    "api_key",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kid", Text, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_version", Integer, nullable=False),
    Column("last4", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("allowed_models", ARRAY(Text), nullable=False),
    Column("allowed_providers", ARRAY(Text), nullable=False),
    Column("default_model", Text),
    Column("slash_pins_provider", Boolean),
    Column("has_hard_budget", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("concurrency", Integer),
    Column("provider_configs_origins", ARRAY(Text), nullable=False, server_default="{}"),
    # Revoked at once: its open requests are ended, too.
    Column("ends_requests", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
)

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
    CheckConstraint(_is_money("cost_usd"), name="cost_is_money"),
    CheckConstraint(_is_money("baseline_cost_usd"), name="baseline_is_money"),
    # Rows arrive nearly in time order, so a block-range index finds a period and costs almost
    # nothing per row. The latest rows come by the primary key: ids are ordered by time.
    Index(None, "received_at", postgresql_using="brin"),
    Index(None, "key_id", "received_at"),
    Index(None, "session_id", "received_at", postgresql_where=text("session_id IS NOT NULL")),
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
        _is_money("cost_usd", "computed_cost_usd", *COST_COLUMNS), name="costs_are_money"
    ),
    Index(None, "started_at", postgresql_using="brin"),
    postgresql_partition_by="RANGE (day)",
)

PARTITIONED: tuple[Table, ...] = (request_record, attempt_record)

MAX_RULES_BYTES = 1 << 20
"""The most that the text of a rule set may hold."""

rule_set = Table(
    "rule_set",
    metadata,
    Column("number", BigInteger, Identity(), primary_key=True),
    Column("version", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("source", Text, nullable=False),
    Column("comment", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("activated_at", Instant),
    CheckConstraint("octet_length(sha256) = 32", name="digest_is_sha256"),
    CheckConstraint(f"octet_length(source) <= {MAX_RULES_BYTES}", name="source_is_bounded"),
    # At most one is in force.
    Index("uq_rule_set_active", "is_active", unique=True, postgresql_where=text("is_active")),
)

price_change = Table(
    "price_change",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("effective_from", Instant, nullable=False),
    Column("effective_to", Instant),
    # Amounts in JSON are texts: whoever reads them must not meet a binary float.
    Column("terms", JSONB),
    Column("factor", Usd),
    Column("endpoint", JSONB),
    Column("recorded_at", Instant, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("effective_to > effective_from", name="ends_after_it_begins"),
    Index(None, "target", "id"),
)

budget = Table(
    "budget",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_id", Uuid),
    Column("labels", JSONB, nullable=False),
    Column("period", Text, nullable=False),
    # Nano-dollars: sums of integers are exact and fast, and nobody's limit is above 9 billion.
    Column("limit_nusd", BigInteger, nullable=False),
    Column("mode", Text, nullable=False),
    Column("is_strict", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("deleted_at", Instant),
    CheckConstraint("limit_nusd >= 0", name="limit_is_money"),
    Index("uq_budget_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
)

budget_period = Table(
    "budget_period",
    metadata,
    # One per budget and window. Whoever changes what may still be spent holds its row.
    Column("budget_id", Uuid, primary_key=True),
    Column("since", Instant, primary_key=True),
    Column("spent_nusd", BigInteger, nullable=False, server_default=text("0")),
    # The highest threshold that was told.
    Column("told_percent", SmallInteger, nullable=False, server_default=text("0")),
    # When a worker last asked in vain: others give back what they hold and do not use.
    Column("wanted_at", Instant),
    # What its leases add up to, so that a grant is one statement.
    Column("leased_nusd", BigInteger, nullable=False, server_default=text("0")),
)

budget_lease = Table(
    "budget_lease",
    metadata,
    # What a worker may spend of a window without asking: granted, less what of it has been shipped.
    Column("budget_id", Uuid, primary_key=True),
    Column("since", Instant, primary_key=True),
    Column("worker", Text, primary_key=True),
    Column("granted_nusd", BigInteger, nullable=False),
    Column("shipped_nusd", BigInteger, nullable=False, server_default=text("0")),
    Column("granted_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "worker"),
)

notice = Table(
    "notice",
    metadata,
    # What operators are to be told of; few, and the oldest are deleted beyond a number.
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSONB, nullable=False),
)

price_proposal = Table(
    "price_proposal",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    # Of what was read: its own version where it has one, and its digest.
    Column("source_version", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("effective_from", Instant),
    # Amounts in JSON are texts, as in `price_change`.
    Column("rates", JSONB, nullable=False),
    Column("terms", JSONB),
    Column("differences", JSONB, nullable=False),
    # Why a person has to say yes to this one by its number; empty: nothing is suspicious.
    Column("gates", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("decided_at", Instant),
    Column("decided_by", Text),
    Column("comment", Text),
    Column("change_id", BigInteger),
    CheckConstraint(
        "status IN ('open', 'accepted', 'refused', 'superseded')", name="status_is_known"
    ),
    # A source has one open proposal for an endpoint: a newer one takes its place.
    Index(
        "uq_price_proposal_open",
        "source",
        "target",
        unique=True,
        postgresql_where=text("status = 'open'"),
    ),
)

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
    CheckConstraint(_is_money("old_cost_usd", "new_cost_usd"), name="costs_are_money"),
    Index(None, "day", "request_id", "number"),
    Index(None, "key_id", "day"),
)

key_retiring = Table(
    "key_retiring",
    metadata,
    # The secrets that keys had before they were rotated, for as long as they still work.
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", Uuid, ForeignKey("api_key.id", ondelete="CASCADE"), nullable=False),
    Column("pepper_version", Integer, nullable=False),
    Column("last4", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    Index(None, "key_id"),
)

app_user = Table(
    "app_user",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Of revoked users too, so that the audit log never means two people by one name.
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("password_changed_at", Instant, nullable=False),
    Column("last_sign_in_at", Instant),
    Column("revoked_at", Instant),
    CheckConstraint("role IN ('owner', 'operator', 'auditor')", name="role_is_known"),
)

app_session = Table(
    "app_session",
    metadata,
    # One that ended is deleted; the audit log remembers it.
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("app_user.id", ondelete="CASCADE"), nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    Index(None, "user_id"),
)

webhook = Table(
    "webhook",
    metadata,
    # Its secret is derived from its id and the installation's own secret, so none stands here.
    Column("id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("webhook_id", Uuid, ForeignKey("webhook.id", ondelete="CASCADE"), nullable=False),
    # No reference: old notices are forgotten, and a test of a webhook has none.
    Column("notice_id", BigInteger),
    Column("event", JSONB, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("next_try_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("delivered_at", Instant),
    Column("gave_up_at", Instant),
    Column("status_code", Integer),
    Column("problem", Text),
    # However many nodes look at a notice, each webhook is told once.
    UniqueConstraint("webhook_id", "notice_id"),
    Index(
        "ix_webhook_delivery_due",
        "next_try_at",
        postgresql_where=text("delivered_at IS NULL AND gave_up_at IS NULL"),
    ),
)

config_epoch = Table(
    "config_epoch",
    metadata,
    Column("name", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("changed_at", Instant, nullable=False),
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

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
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

views = MetaData()
"""What the reader role sees. The views are made by the migrations, which must list every column."""


def _view(name: str, table: Table, *, without: frozenset[str] = frozenset()) -> Table:
    columns = (
        Column(column.name, column.type) for column in table.columns if column.name not in without
    )
    return Table(name, views, *columns)


v_request = _view("v_request", request_record)
v_attempt = _view("v_attempt", attempt_record)
v_api_key = _view("v_api_key", api_key, without=frozenset({"digest", "pepper_version"}))
v_ship_watermark = _view("v_ship_watermark", ship_watermark)
v_ingest_error = _view("v_ingest_error", ingest_error, without=frozenset({"frame"}))
v_rule_set = _view("v_rule_set", rule_set)
v_price_change = _view("v_price_change", price_change)
v_price_proposal = _view("v_price_proposal", price_proposal)
v_cost_adjustment = _view("v_cost_adjustment", cost_adjustment)
v_budget = _view("v_budget", budget)
v_budget_period = _view("v_budget_period", budget_period)
v_budget_lease = _view("v_budget_lease", budget_lease)
v_health_event = _view("v_health_event", health_event)
