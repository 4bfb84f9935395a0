"""A key made on the command line sends credentials where the operator lets it, nowhere else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.simulator.running import simulator_in_thread
from tests.installation import MESSAGES, installation, provider_toml, wait_until

OWN_KEY = "sk-own-credential-canary-0042"


def test_a_credential_of_a_request_reaches_its_provider_and_no_file_of_ours(
    tmp_path: Path, postgres_dsn: Callable[..., str]
) -> None:
    with simulator_in_thread(speed=0) as simulator:
        base_url = f"{simulator.base_url}/v1"
        toml = provider_toml("alpha", base_url, {"test/plain": "plain"})
        home = tmp_path / "home"
        with installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place:
            made = place.tollway(
                "keys", "create", "own", "--provider-configs-origin", simulator.base_url, "--json"
            )
            assert made.returncode == 0, made.stderr
            own = json.loads(made.stdout)
            assert own["key"]["provider_configs_origins"] == [simulator.base_url]
            with place.serve() as gateway:
                other = gateway.make_key()
                wait_until("the key is known", lambda: gateway.accepts(own["text"]))
                asked: dict[str, Any] = {
                    "model": "mine/some-model",
                    "messages": MESSAGES,
                    "provider_configs": {"mine": {"base_url": base_url, "api_key": OWN_KEY}},
                }
                with gateway.client(own["text"]) as client:
                    answer = client.post("/v1/chat/completions", json=asked)
                    assert answer.status_code == 200, answer.text
                    assert answer.json()["usage"]["is_byok"] is True
                    record = gateway.record(answer.json()["id"])
                    assert (record.used_provider, record.cost_usd) == ("mine", None)
                with gateway.client(other) as client:
                    refused = client.post("/v1/chat/completions", json=asked)
                    assert refused.status_code == 400
                    assert refused.json()["error"]["param"] == "provider_configs"
                assert OWN_KEY not in gateway.log
        assert simulator.ledger[-1].credential_last4 == OWN_KEY[-4:]
        assert len(simulator.ledger) == 1
        files = [path for path in (home / "data").rglob("*") if path.is_file()]
        assert not [path for path in files if OWN_KEY.encode() in path.read_bytes()]
