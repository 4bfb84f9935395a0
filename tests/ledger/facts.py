"""What is known of a request from its arrival, for tests."""

from datetime import UTC, datetime
from uuid import UUID

from gateway.ledger.settle import RequestFacts

FACTS = RequestFacts(
    id=UUID("0199d1e0-0000-7000-8000-000000000001"),
    received_at=datetime(2026, 11, 21, tzinfo=UTC),
    key_id=UUID(int=1),
    labels={"team": "one"},
    dialect="openai",
    stream=True,
    requested_model="large",
    user="user-7",
    session_id="session-9",
    tags={"env": "prod"},
    rule_version="r1",
    catalogue_version="c1",
    code_version="0.1.0",
)
