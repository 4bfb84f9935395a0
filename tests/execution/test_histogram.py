"""Quantiles that err by 2 % at most, whatever was merged from whatever windows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.execution.histogram import (
    MAX_RELATIVE_ERROR,
    Histogram,
    RollingHistogram,
    bucket_of,
    merged,
    value_of,
)

VALUES = st.floats(min_value=0.001, max_value=1e9)
SHARES = (0.01, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@given(st.lists(VALUES, min_size=1, max_size=200))
def test_every_quantile_is_within_two_percent_of_the_true_one(values: list[float]) -> None:
    found = histogram_of(values).quantiles(SHARES)

    assert MAX_RELATIVE_ERROR <= 0.02
    for share, quantile in zip(SHARES, found, strict=True):
        assert quantile == pytest.approx(nearest_rank(values, share), rel=0.02)


@given(st.lists(st.lists(VALUES, max_size=30), max_size=6))
def test_merging_is_the_same_as_counting_together(parts: list[list[float]]) -> None:
    together = histogram_of([value for part in parts for value in part])

    apart = merged(histogram_of(part) for part in parts)

    assert (apart.counts, apart.count) == (together.counts, together.count)


@given(VALUES)
def test_a_bucket_is_found_again_by_the_value_that_stands_for_it(value: float) -> None:
    assert bucket_of(value_of(bucket_of(value))) == bucket_of(value)


def test_there_are_only_so_many_buckets() -> None:
    assert bucket_of(1e300) - bucket_of(0.0) < 706
    assert bucket_of(-5.0) == bucket_of(0.0)


@given(st.lists(st.tuples(st.floats(0, 400), VALUES), max_size=60))
def test_a_rolling_histogram_holds_exactly_the_windows_it_keeps(
    samples: list[tuple[float, float]],
) -> None:
    rolling = RollingHistogram(window_s=30, windows=10)
    samples.sort()
    for at_s, value in samples:
        rolling.add_to(bucket_of(value), at_s)

    now_s = 450.0
    kept = [value for at_s, value in samples if at_s // 30 > now_s // 30 - 10]
    assert rolling.at(now_s).counts == histogram_of(kept).counts
    older = [value for at_s, value in samples if 5 < at_s // 30 <= 15 - 3]
    assert rolling.at(now_s, without_newest=3).counts == histogram_of(older).counts


def test_halving_forgets_what_was_seen_once() -> None:
    histogram = histogram_of([1.0] * 9 + [100.0])

    histogram.halve()

    assert (histogram.count, len(histogram.counts)) == (4, 1)
    assert histogram_of([]).quantile(0.5) is None
