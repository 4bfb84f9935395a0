"""How many examples property tests draw, and which.

`make test` draws the same ones each time, so that what it says is about the change at hand.
`make explore` draws others, and `EXAMPLES` times as many: what it finds becomes an
`@example` or a test of its own.
"""

import os

from hypothesis import settings

_TIMES = int(os.environ.get("EXAMPLES", "0"))
IS_EXPLORING = _TIMES > 0


def many(count: int) -> int:
    """So many examples; while exploring, that many times as many."""
    return count * max(_TIMES, 1)


def load_profile() -> None:
    """Make it hold for all tests that are imported from now on."""
    settings.register_profile(
        "tollway", max_examples=many(100), derandomize=not IS_EXPLORING, deadline=None
    )
    settings.load_profile("tollway")
