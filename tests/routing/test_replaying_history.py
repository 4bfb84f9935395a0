"""Which rules came before those of a request."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.routing.replaying_history import Activation, NoneBefore, RuleHistory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def history(*versions: str) -> RuleHistory:
    """One each hour from noon on."""
    return RuleHistory(
        [
            Activation(at=NOON + place * HOUR, number=place + 1, version=version)
            for place, version in enumerate(versions)
        ],
        empty_version="empty",
    )


@pytest.mark.parametrize(
    ("versions", "version", "after", "expected"),
    [
        (("a", "b"), "b", 1.5, 1),
        (("a", "b"), "a", 0.5, None),
        # A worker that had not followed yet, or a clock that runs behind.
        (("a", "b"), "a", 1.001, None),
        (("a", "b"), "b", 0.9999, 1),
        # Rolled back: before the second time stands what was in force in between.
        (("a", "b", "a"), "a", 2.5, 2),
        (("a", "b", "a"), "a", 1.0, None),
        # Only the text changed.
        (("a", "b", "b"), "b", 2.5, 1),
        (("a", "empty"), None, 1.5, 1),
        (("empty", "a"), "a", 1.5, 1),
        (("a",), None, -1, NoneBefore.NO_RULES_YET),
        ((), None, 0, NoneBefore.NO_RULES_YET),
        (("a",), "of-a-file", 0.5, NoneBefore.RULES_UNKNOWN),
        (("a", "b"), "b", 0.5, NoneBefore.RULES_UNKNOWN),
    ],
)
def test_the_version_before_is_found(
    versions: tuple[str, ...], version: str | None, after: float, expected: object
) -> None:
    assert history(*versions).before(version, NOON + after * HOUR) == expected
