"""Writes what was counted in the form that Prometheus reads."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from gateway.metrics.families import COUNTERS, GAUGES, HISTOGRAMS, Family
from gateway.metrics.node import Sum
from gateway.metrics.tally import Labels


class Exposition(Collector):
    """One scrape's worth of metrics."""

    def __init__(self, shown: Sum, info: Mapping[str, str]) -> None:
        """Show these numbers, and say which versions they are of."""
        self._shown = shown
        self._info = info

    def collect(self) -> Iterable[Metric]:
        """Every family, the empty ones without labels as 0."""
        yield InfoMetricFamily("tollway", "Which versions are in force.", value=dict(self._info))
        counted, gauges = self._shown.counted, self._shown.gauges
        for name, family in COUNTERS.items():
            counter = CounterMetricFamily(name, family.help, labels=family.labels)
            for labels, value in _series(family, counted.counters.get(name)):
                counter.add_metric(labels, value)
            yield counter
        for name, family in GAUGES.items():
            gauge = GaugeMetricFamily(name, family.help, labels=family.labels)
            for labels, value in gauges.get(name, {}).items():
                gauge.add_metric(labels, value)
            yield gauge
        for name, family in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
            for labels, spread in counted.histograms.get(name, {}).items():
                buckets = _cumulative(family.bounds, spread.counts)
                histogram.add_metric(labels, buckets, sum_value=spread.total_s)
            yield histogram


def render(shown: Sum, info: Mapping[str, str], accept: str) -> tuple[bytes, str]:
    """The body of a scrape and its content type, as the ``Accept`` header prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exposition(shown, info))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _series(
    family: Family, series: Mapping[Labels, float] | None
) -> Iterator[tuple[Labels, float]]:
    if series:
        yield from series.items()
    elif not family.labels:
        yield (), 0.0


def _cumulative(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    so_far = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(repr, bounds), "+Inf"), counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return buckets
