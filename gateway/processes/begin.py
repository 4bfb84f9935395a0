"""How every Tollway process begins: what its environment lacks is told in a line, not in a trace.

``python -m gateway.processes.begin MODULE`` runs a module of ours as the main one.
"""

import runpy
import sys
from collections.abc import Callable


def run_or_explain(begin: Callable[[], object]) -> None:
    """Call it; where a package is missing or broken, say so with the remedy and exit 1."""
    try:
        begin()
    except ImportError as exc:
        cause: BaseException = exc
        while isinstance(cause.__cause__, ImportError):
            cause = cause.__cause__
        sys.stderr.write(
            f"tollway: this environment is incomplete ({cause}); install it anew, with "
            "'make up' in a checkout or 'pip install --require-hashes -r requirements.lock'\n"
        )
        sys.exit(1)


if __name__ == "__main__":
    module = sys.argv[1]
    run_or_explain(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))
