"""The ``tollway`` command."""

import sys


def main() -> None:
    """Run the command line; a half-installed environment gets a remedy instead of a trace."""
    try:
        from gateway.cli.main import run  # noqa: PLC0415 - so that its absence can be told
    except ImportError as exc:
        sys.stderr.write(
            f"tollway: this environment is incomplete ({exc}); install it anew, with "
            "'make up' in a checkout or 'pip install --require-hashes -r requirements.lock'\n"
        )
        sys.exit(1)
    run()
