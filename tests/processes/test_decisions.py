"""Decisions that were read back from PostgreSQL can be made again, and agree with what was told."""

from typing import Any

import msgspec
import pytest

from gateway.routing.record import replay
from gateway.simulator.running import simulator_in_thread
from tests.installation import MESSAGES, Gateway, installation, provider_toml
from tests.routing.rules.applying import rule

SPLIT = rule(
    'split = { by = "request", arms = [{ name = "old", weight = 1 }, '
    '{ name = "new", weight = 3, labels = { arm = "new" } }] }',
    'headers = { x-try = "arms" }',
    name="halves",
)
KINDS: dict[str, dict[str, Any]] = {
    "drawn": {},
    "sorted": {"provider": {"sort": "price"}},
    "ordered": {"provider": {"order": ["gamma"]}},
    "closed": {"provider": {"allow_fallbacks": False}},
    "two models": {"models": ["acme/large", "acme/small"]},
    "together": {
        "models": ["acme/large", "acme/small"],
        "provider": {"sort": {"by": "price", "partition": "none"}},
    },
}


def ask(gateway: Gateway, key: str, members: dict[str, Any], **headers: str) -> str:
    """The id of an answer."""
    body = {"model": "acme/large", "messages": MESSAGES} | members
    with gateway.client(key) as client:
        answer = client.post("/api/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


@pytest.mark.timeout(120)
def test_ordering_a_record_of_the_database_again_gives_the_stored_order(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("decisions")
    with simulator_in_thread(speed=0) as simulator:
        names = {"acme/large": "large", "acme/small": "small"}
        toml = 'rules = "rules.toml"\n' + "\n".join(
            provider_toml(name, f"{simulator.base_url}/v1", names)
            for name in ("alpha", "beta", "gamma")
        )
        with installation(home, toml=toml) as place:
            (home / "rules.toml").write_text(SPLIT)
            with place.serve() as gateway:
                key = gateway.make_key()
                asked = {
                    ask(gateway, key, members): kind
                    for kind, members in KINDS.items()
                    for _ in "ab"
                }
                in_arms = ask(gateway, key, {"session_id": "another"}, **{"x-try": "arms"})
                records = {one: gateway.record(one) for one in (*asked, in_arms)}

    for one, record in records.items():
        plan = record.plan
        stored = msgspec.convert(plan["candidates"], list[dict[str, Any]])
        dropped = msgspec.convert(plan.get("dropped", []), list[dict[str, Any]])
        again = replay(plan)
        told = asked.get(one)

        assert list(again.endpoints) == [c["endpoint"] for c in stored], told
        assert list(again.dropped) == [c["endpoint"] for c in dropped], told
        assert list(again.probabilities) == [c.get("p") for c in stored], told
        assert again.draw == plan.get("draw"), told
        chances = [c["p"] for c in (*stored, *dropped) if c.get("p")]
        assert abs(sum(chances) - 1) < 1e-9, told
        assert plan["drawn_endpoint"] == stored[0]["endpoint"]
        assert record.used_provider == stored[0]["endpoint"].partition("/")[0]
    split = records[in_arms].plan
    assert (split["mode"], split["mode_in_arm"]) == ("rule_split", "weighted")
    assert split["p_arms"] in {0.25, 0.75}
