"""What the workers of a node counted, together, and what is left of one that died."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics.exposition import render
from gateway.metrics.families import (
    BREAKER,
    COUNTERS,
    DURATION,
    GAUGES,
    HISTOGRAMS,
    IN_FLIGHT,
    REQUESTS,
    SNAPSHOT_AGE,
    SPOOL_WRITABLE,
    WORKERS,
)
from gateway.metrics.node import ALIVE_S, VERSION, Gauges, NodeFiles, Told, encode_told, summed
from gateway.metrics.tally import Counted, Tally

NOW_S = 1_000_000.0
LABELS = ("openai", "2xx", "success")


def counted(requests: float) -> Counted:
    return Counted(counters={REQUESTS: {LABELS: requests}})


def told(requests: float, gauges: Gauges, *, age_s: float = 0.0) -> Told:
    return Told(
        version=VERSION,
        pid=1,
        written_at_s=NOW_S - age_s,
        counted=counted(requests),
        gauges=gauges,
    )


def test_workers_add_up_as_each_metric_says() -> None:
    one: Gauges = {IN_FLIGHT: {(): 3}, SNAPSHOT_AGE: {(): 2}, SPOOL_WRITABLE: {(): 1}}
    two: Gauges = {IN_FLIGHT: {(): 4}, SNAPSHOT_AGE: {(): 9}, SPOOL_WRITABLE: {(): 0}}

    shown = summed(told(10, one), [told(5, two)], now_s=NOW_S)

    assert shown.counted.counters[REQUESTS] == {LABELS: 15}
    assert shown.gauges == {
        IN_FLIGHT: {(): 7},
        SNAPSHOT_AGE: {(): 9},
        SPOOL_WRITABLE: {(): 0},
        WORKERS: {(): 2},
    }


def test_of_a_worker_that_died_the_counts_stay_and_the_gauges_go() -> None:
    dead = told(5, {IN_FLIGHT: {(): 4}, BREAKER: {("a/b",): 2}}, age_s=ALIVE_S + 1)

    shown = summed(told(10, {IN_FLIGHT: {(): 3}}), [dead], now_s=NOW_S)

    assert shown.counted.counters[REQUESTS] == {LABELS: 15}
    assert shown.gauges == {IN_FLIGHT: {(): 3}, WORKERS: {(): 1}}


def test_a_worker_that_starts_goes_on_where_its_number_ended(tmp_path: Path) -> None:
    NodeFiles(tmp_path, worker=2).write(encode_told(counted(7), {}, now_s=NOW_S))

    tally = NodeFiles(tmp_path, worker=2).load()
    tally.add(REQUESTS, LABELS)

    assert tally.counted.counters[REQUESTS] == {LABELS: 8}
    assert NodeFiles(tmp_path, worker=2).others() == []
    assert [other.counted for other in NodeFiles(tmp_path, worker=1).others()] == [counted(7)]


@pytest.mark.parametrize("content", [b"", b"\x00garbage", b"\x81\xa7version\x63"])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "worker-0.msgpack").write_bytes(content)

    assert NodeFiles(tmp_path, worker=0).load().counted == Counted()
    assert NodeFiles(tmp_path, worker=1).others() == []


def test_without_a_directory_there_is_nobody_else(tmp_path: Path) -> None:
    assert NodeFiles(tmp_path / "none", worker=0).others() == []


def test_prometheus_reads_what_is_written() -> None:
    own = told(12, {IN_FLIGHT: {(): 3}, BREAKER: {('quo"te\\n',): 2}})
    shown = summed(own, [], now_s=NOW_S)

    body, content_type = render(shown, {"version": "1"}, "")

    assert content_type.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    [sample] = [s for s in families[REQUESTS].samples if s.name == f"{REQUESTS}_total"]
    assert sample.value == 12
    assert sample.labels == {"dialect": "openai", "status": "2xx", "outcome": "success"}
    assert families[IN_FLIGHT].samples[0].value == 3
    assert families[BREAKER].samples[0].labels == {"endpoint": 'quo"te\\n'}
    assert set(families) == {"tollway_info", *COUNTERS, *GAUGES, *HISTOGRAMS}
    assert all(family.documentation for family in families.values())


def test_buckets_are_cumulative_and_end_with_everything() -> None:
    tally = Tally()
    for seconds in (0.01, 0.2, 0.2, 1e6):
        tally.observe(DURATION, ("whole",), seconds)
    shown = summed(
        Told(version=VERSION, pid=1, written_at_s=NOW_S, counted=tally.counted, gauges={}),
        [],
        now_s=NOW_S,
    )

    body, _ = render(shown, {}, "application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    body, _ = render(shown, {}, "text/plain")
    [family] = [f for f in text_string_to_metric_families(body.decode()) if f.name == DURATION]
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert buckets["0.05"] == 1
    assert buckets["0.25"] == 3
    assert buckets["+Inf"] == 4
    assert next(s.value for s in family.samples if s.name.endswith("_count")) == 4
