"""``tollway simulate``: the simulated providers alone."""

from pathlib import Path

from gateway.simulator.running import run


def simulate(*, host: str = "127.0.0.1", port: int = 9102, script: Path | None = None) -> None:
    """Run simulated providers, for trying things out.

    They speak the protocols of OpenAI, Anthropic, Gemini and Bedrock; the line that is printed
    tells at which addresses.

    Args:
        host: address to listen on.
        port: port to listen on; 0 picks one.
        script: a TOML file of faults and latencies.
    """
    run(host, port, script_path=script)
