"""The one description of our tables, for whoever is outside of this room.

Statements are built from them, `migrations` builds them. Each is described with its subject; those
of sums are in `rollup_tables` and `coarse_tables`.
"""

from gateway.storage.access_tables import api_key, app_session, app_user, key_retiring, v_api_key
from gateway.storage.budget_tables import (
    budget,
    budget_lease,
    budget_period,
    v_budget,
    v_budget_lease,
    v_budget_period,
)
from gateway.storage.decision_tables import (
    MAX_RULES_BYTES,
    audit_entry,
    config_epoch,
    price_change,
    price_proposal,
    rule_set,
    v_price_change,
    v_price_proposal,
    v_rule_set,
)
from gateway.storage.notice_tables import notice, webhook, webhook_delivery
from gateway.storage.record_tables import (
    COST_COLUMNS,
    MAX_FRAME_BYTES,
    PARTITIONED,
    attempt_record,
    cost_adjustment,
    cost_column,
    health_event,
    ingest_error,
    request_record,
    ship_watermark,
    v_attempt,
    v_cost_adjustment,
    v_health_event,
    v_ingest_error,
    v_request,
    v_ship_watermark,
)
from gateway.storage.table_kinds import USD_PRECISION, USD_SCALE, Instant, Usd, metadata, views

__all__ = [
    "COST_COLUMNS",
    "MAX_FRAME_BYTES",
    "MAX_RULES_BYTES",
    "PARTITIONED",
    "USD_PRECISION",
    "USD_SCALE",
    "Instant",
    "Usd",
    "api_key",
    "app_session",
    "app_user",
    "attempt_record",
    "audit_entry",
    "budget",
    "budget_lease",
    "budget_period",
    "config_epoch",
    "cost_adjustment",
    "cost_column",
    "health_event",
    "ingest_error",
    "key_retiring",
    "metadata",
    "notice",
    "price_change",
    "price_proposal",
    "request_record",
    "rule_set",
    "ship_watermark",
    "v_api_key",
    "v_attempt",
    "v_budget",
    "v_budget_lease",
    "v_budget_period",
    "v_cost_adjustment",
    "v_health_event",
    "v_ingest_error",
    "v_price_change",
    "v_price_proposal",
    "v_request",
    "v_rule_set",
    "v_ship_watermark",
    "views",
    "webhook",
    "webhook_delivery",
]
