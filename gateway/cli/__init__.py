"""The ``tollway`` command."""

from gateway.processes.begin import run_or_explain


def main() -> None:
    """Run the command line; a half-installed environment gets a remedy instead of a trace."""
    run_or_explain(_run)


def _run() -> None:
    from gateway.cli.main import run  # noqa: PLC0415 - so that its absence can be told

    run()
