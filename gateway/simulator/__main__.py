"""`python -m gateway.simulator`: the simulated providers alone, in a process of their own."""

import argparse
import sys
from pathlib import Path

from gateway.simulator.running import run
from gateway.simulator.script import ScriptError


def main() -> int:
    """Read the arguments, serve until told to stop; 1 when the start failed."""
    parser = argparse.ArgumentParser(prog="python -m gateway.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port, and prints it")
    parser.add_argument("--script", type=Path, help="TOML file of rules; see script.py")
    parser.add_argument("--ledger", type=Path, help="append one JSON line per attempt, prompts too")
    parser.add_argument("--api-key", help="demand this key on every request")
    parser.add_argument("--speed", type=float, default=1.0, help="divides delays; 0: no delays")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="stop when standard input ends, so as not to outlive the parent process",
    )
    given = parser.parse_args()
    try:
        run(
            given.host,
            given.port,
            script_path=given.script,
            ledger_path=given.ledger,
            api_key=given.api_key,
            speed=given.speed,
            until_stdin_closes=given.until_stdin_closes,
        )
    except (ScriptError, OSError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
