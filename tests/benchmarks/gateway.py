"""The gateway as a target: eight endpoints to choose from, keys checked, every record spooled."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from tests.benchmarks.processes import free_port
from tests.benchmarks.target import Target

ENDPOINTS = 8
_TOLLWAY = [sys.executable, "-m", "gateway"]


@contextlib.contextmanager
def gateway_target(upstream_url: str) -> Generator[Target]:
    """An installation in a temporary directory, with a key of its own."""
    with tempfile.TemporaryDirectory(prefix="tollway-bench-") as directory:
        config = Path(directory) / "tollway.toml"
        config.write_text(_config(upstream_url.removesuffix("/chat/completions")))
        common = ["--config", str(config)]
        made = subprocess.run(
            [*_TOLLWAY, "keys", "create", "bench", *common],
            check=True,
            capture_output=True,
            text=True,
        )
        port = free_port()
        command = [*_TOLLWAY, "serve", *common, "--port", str(port), "--admin-port", "0"]
        yield Target(
            name="tollway",
            command=command,
            port=port,
            api_key=made.stdout.split()[0],
            model="bench/model",
            ready_path="/readyz",
        )


def _config(base_url: str) -> str:
    parts = ["[deadlines]", "drain_listen_s = 0", ""]
    for number in range(1, ENDPOINTS + 1):
        parts += [
            f"[providers.bench{number}]",
            f'base_url = "{base_url}"',
            "allow_private = true",
            f"[[providers.bench{number}.endpoints]]",
            'model = "bench/model"',
            'id = "bench"',
            "context_tokens = 128_000",
            "max_output_tokens = 16_384",
            f"input_usd_per_mtok = 0.{10 + number}",
            f"output_usd_per_mtok = 0.{50 + number}",
            "",
        ]
    return "\n".join(parts)
