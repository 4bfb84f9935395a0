"""A gateway that is told to hedge, and one whose provider has two credentials."""

from collections.abc import Callable

import pytest

from gateway.domain.outcomes import Outcome
from gateway.simulator.running import simulator_in_thread
from tests.installation import MESSAGES, events_of, installation, provider_toml, wait_until

TOML = """
[routing]
hedge_after_ms = 150
"""


@pytest.fixture
def dsn(postgres_dsn: Callable[..., str]) -> str:
    return postgres_dsn()


def test_a_second_endpoint_and_a_second_credential_take_over(
    tmp_path_factory: pytest.TempPathFactory, dsn: str
) -> None:
    home = tmp_path_factory.mktemp("hedging") / "home"
    with simulator_in_thread(speed=0) as simulator:
        base_url = f"{simulator.base_url}/v1"
        keys = ('api_keys = ["env:KEY_ONE", "env:KEY_TWO"]',)
        toml = provider_toml("silent", base_url, {"acme/large": "large!hang"})
        toml += provider_toml("good", base_url, {"acme/large": "large"})
        toml += provider_toml("twice", base_url, {"acme/keyed": "keyed!401"}, options=keys)
        secrets = {
            "KEY_ONE": "sk-one-0123456789abcdef0001",
            "KEY_TWO": "sk-two-0123456789abcdef0002",
        }
        with (
            installation(home, toml=toml + TOML, TOLLWAY_DATABASE_URL=dsn, **secrets) as place,
            place.serve() as gateway,
        ):
            key = gateway.make_key()
            body = {
                "model": "acme/large",
                "messages": MESSAGES,
                "stream": True,
                "provider": {"order": ["silent", "good"]},
            }
            with (
                gateway.client(key) as client,
                client.stream("POST", "/api/v1/chat/completions", json=body) as answer,
            ):
                generation = answer.headers["x-generation-id"]
                assert list(events_of(answer.iter_lines()))[-1] == "[DONE]"
            record = gateway.record(generation)
            with gateway.client(key) as client:
                refused = client.post(
                    "/api/v1/chat/completions", json={"model": "acme/keyed", "messages": MESSAGES}
                )
            wait_until(
                "the silent endpoint is cut off",
                lambda: any(entry.outcome == "client_closed" for entry in simulator.ledger) or None,
            )
            log = gateway.log

        shown = [
            e.credential_last4 for e in simulator.ledger if (e.model or "").startswith("keyed")
        ]

    slow, quick = record.attempts
    assert (slow.kind, slow.outcome, slow.usage_source) == (
        "primary",
        Outcome.SUPERSEDED,
        "estimated",
    )
    assert (quick.kind, quick.outcome) == ("hedge", Outcome.SUCCESS)
    assert record.cost_usd is not None
    assert slow.cost.total_usd is not None
    assert record.cost_usd > slow.cost.total_usd
    assert refused.status_code == 502
    assert sorted(map(str, shown)) == ["0001", "0002"]
    assert "sk-one" not in log + refused.text
