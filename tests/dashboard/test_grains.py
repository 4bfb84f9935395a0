"""Which sums are read: they all come to the same, and differ in how many rows there are."""

from datetime import UTC, datetime, timedelta

import pytest

from dashboard.grains import Wanted, spans_of
from gateway.storage.rollup_tables import latency

END = datetime(2026, 11, 21, tzinfo=UTC)
PROVIDER = frozenset({"metric", "provider"})


@pytest.mark.parametrize(
    ("days", "needed", "width_h", "read"),
    [
        pytest.param(1, PROVIDER, 1, "endpoint_hour", id="a-day-by-the-hour"),
        pytest.param(30, PROVIDER, 12, "endpoint_hour", id="a-month-by-half-days"),
        pytest.param(30, frozenset({"metric"}), 12, "hour", id="a-month-of-everybody"),
        # Days tell as much apart as hours do, in a twenty-fourth of the rows.
        pytest.param(90, PROVIDER, 24, "day", id="a-quarter-by-days"),
        pytest.param(7, PROVIDER, None, "day", id="a-week-as-a-whole"),
        pytest.param(90, PROVIDER, None, "day", id="a-quarter-as-a-whole"),
    ],
)
def test_latency_is_read_from_the_fewest_rows_that_know_what_is_asked_for(
    days: int, needed: frozenset[str], width_h: int | None, read: str
) -> None:
    width = None if width_h is None else timedelta(hours=width_h)

    spans = spans_of(Wanted(latency, needed, width), END - timedelta(days=days), END)

    assert [span.view.name for span in spans] == [f"v_latency_{read}_packed"]


def test_quarters_are_read_where_an_edge_falls_within_an_hour() -> None:
    start = END - timedelta(days=2, minutes=15)

    spans = spans_of(Wanted(latency, PROVIDER), start, END - timedelta(minutes=30))

    assert [span.view.name for span in spans] == [
        "v_latency_packed",
        "v_latency_endpoint_hour_packed",
        "v_latency_packed",
    ]
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
