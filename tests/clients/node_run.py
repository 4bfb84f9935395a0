"""Runs the scripts in ``node/`` and gives what their scenarios printed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Site

DIRECTORY = Path(__file__).parent / "node"
WITHIN_S = 60.0


def why_not() -> str | None:
    """Why the clients written in JavaScript cannot be tried here; None when they can."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (DIRECTORY / "node_modules" / "openai").is_dir():
        return f"`npm ci --ignore-scripts` has not been run in {DIRECTORY.name}/"
    return None


class Told(Mapping[str, Any]):
    """What each scenario gave, by its name; looking at one that failed fails with its reason."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = {line["name"]: line for line in lines}

    def __getitem__(self, name: str) -> Any:
        line = self._lines[name]
        if "failed" in line:
            pytest.fail(f"{name}: {line['failed']}")
        return line["got"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def run_script(script: str, site: Site) -> Told:
    """Run one script to its end: node takes long to start, so it tries everything at once."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("node is not installed")
    ended = subprocess.run(
        [node, script],
        cwd=DIRECTORY,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(site.gateway.home),
            "TOLLWAY_URL": site.gateway.url,
            "TOLLWAY_KEY": site.key,
            # The AI SDK warns of what it works around, and asks nobody anything.
            "AI_SDK_LOG_WARNINGS": "false",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"name"')]
    assert ended.returncode == 0, f"{script} ended with {ended.returncode}: {ended.stderr[-4000:]}"
    return Told(lines)
