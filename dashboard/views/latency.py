"""Latency: how fast everybody answers, from merged histograms, within 2 %."""

from collections.abc import Callable
from functools import partial

import polars as pl
import streamlit as st

from dashboard import (
    ahead,
    charts,
    exports,
    latency_queries,
    latency_sums,
    numbers,
    pieces,
    queries,
    speed_charts,
    states,
    tones,
)
from dashboard.filters import chosen_narrowing
from dashboard.latency_queries import ENOUGH, SHARES
from dashboard.latency_sums import Scope
from dashboard.looks import OTHER_SLOT
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views.latency_cards import cards

_MOST_LANES = 10
_LEAST_HEIGHT = 260
_MOST_ROWS = 100
_CURVE = 40
_TOTAL, _FIRST, _SPEED = "Total", "First token", "Speed"
_EVERYBODY, _PROVIDERS = "All", "Providers"
_USUAL_LANES = "Endpoints"
_DIMENSIONS = {_USUAL_LANES: "endpoint", "Providers": "provider", "Models": "model"}
_OF_REQUESTS = ("request", "request_ttft", "overhead")
_HOURS_NOTE = (
    "By key, latency is kept by the hour and of requests alone: figures are of whole hours, "
    "without speed and overhead."
)


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    scope = latency_sums.scope_of(period, only)
    with ahead.reading(*_reads(scope)):
        _draw(period, scope)


def _reads(scope: Scope) -> list[Callable[[], object]]:
    by = _DIMENSIONS.get(st.session_state.get("lanes") or _USUAL_LANES, "endpoint")
    both = (scope, latency_sums.before(scope)) if scope.period.is_compared else (scope,)
    reads: list[Callable[[], object]] = [
        *(partial(latency_sums.read, of, _OF_REQUESTS, is_by_time=True) for of in both),
        *(partial(_read_found, of, by) for of in both),
        partial(latency_sums.read_hours, scope),
    ]
    if st.session_state.get("lines") == _PROVIDERS:
        reads.append(
            partial(latency_sums.read, scope, (scope.total,), by=("provider",), is_by_time=True)
        )
    return reads


def _draw(period: Period, scope: Scope) -> None:
    requests = latency_sums.read(scope, _OF_REQUESTS, is_by_time=True)
    if requests.is_empty():
        states.show_empty(period)
        return
    if scope.is_of_keys:
        st.caption(_HOURS_NOTE)
    tiles = st.container()
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="ranges", height="stretch"):
        # What is chosen here says what is read.
        by, metric = _choose_ranges(scope)
        ranges = st.container()
    found = _read_found(scope, by)
    past_requests, past = requests.clear(), found.clear()
    if period.is_compared:
        earlier = latency_sums.before(scope)
        past_requests = latency_sums.read(earlier, _OF_REQUESTS, is_by_time=True)
        past = _read_found(earlier, by)
    tiles.html(pieces.cards(cards(scope, (requests, past_requests), (found, past))))
    with ranges:
        lanes = _draw_ranges(scope, found, by, metric)
    with right.container(border=True, key="distribution", height="stretch"):
        st.html(pieces.heading("Distribution", f"all quantiles, of {scope.what} by provider"))
        _draw_distribution(scope, found, max(_LEAST_HEIGHT, speed_charts.ranges_height(lanes)))
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="over_time", height="stretch"):
        _draw_over_time(scope, requests)
    with right.container(border=True, key="week", height="stretch"):
        st.html(pieces.heading("Hour of week", f"p95 of successful requests, {period.zone}"))
        cells = queries.hours_of_week(latency_sums.read_hours(scope), ENOUGH)
        if cells.is_empty():
            st.caption(f"No hour of the week has {ENOUGH} requests yet.")
        else:
            st.altair_chart(
                speed_charts.week_chart(cells), alt="p95 latency by hour of day and day of week"
            )
    with st.container(border=True, key="overhead"):
        _draw_overhead(scope, requests)
    with st.container(border=True, key="table"):
        _draw_table(scope, found, past, by)


def _read_found(scope: Scope, by: str) -> pl.DataFrame:
    """By provider too, so that the distribution needs no histograms of its own."""
    metrics = tuple(filter(None, (scope.total, scope.ttft, scope.speed)))
    return latency_sums.read(scope, metrics, by=tuple(dict.fromkeys(("provider", by))))


def _choose_ranges(scope: Scope) -> tuple[str, str]:
    """What lanes and rows are, and what is measured."""
    with st.container(horizontal=True, vertical_alignment="center", key="ranges_row"):
        st.html(pieces.heading("Slowest first", "p50 to p95 bar, p99 tick"))
        dimension = _choose("lanes", list(_DIMENSIONS))
        measure = _choose("measure", [_TOTAL, _FIRST, *([_SPEED] if scope.speed else [])])
    return _DIMENSIONS[dimension], measure


def _choose(key: str, options: list[str]) -> str:
    """A choice that stands in the URL; the first one is the usual one."""
    chosen = st.segmented_control(
        key,
        options,
        default=options[0],
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
        width="content",
    )
    return chosen or options[0]


def _draw_ranges(scope: Scope, found: pl.DataFrame, by: str, metric: str) -> int:
    """Answers with how many lanes there are."""
    wanted = {_FIRST: scope.ttft, _SPEED: scope.speed}.get(metric) or scope.total
    is_speed = metric == _SPEED
    ranking = latency_queries.ranking(found, wanted, by, is_speed=is_speed)
    if ranking.is_empty():
        st.caption(f"Nobody has {ENOUGH} such {scope.what} in this time.")
        return 0
    shown = ranking.head(_MOST_LANES).with_columns(provider=_provider_of(by))
    st.altair_chart(
        speed_charts.ranges_chart(
            shown,
            None if by == "model" else slots(shown["provider"].unique()),
            is_speed=is_speed,
            counted=scope.what,
        ),
        alt=f"From p50 to p95, with a tick at p99; the slowest is {shown['name'][0]}",
    )
    if is_speed:
        st.caption("Of speeds the small ones are slow: p95 is what 95 % reach.")
    return shown.height


def _provider_of(by: str) -> pl.Expr:
    """Of an endpoint's id, or of provider and model in one text."""
    name = pl.col("name")
    if by == "endpoint":
        return name.str.split(" · ").list.first().str.split("/").list.first()
    return name


def _draw_distribution(scope: Scope, found: pl.DataFrame, height: int) -> None:
    histogram = found.filter(pl.col("metric") == scope.total)
    curve = queries.quantile_curve(histogram, _CURVE, ENOUGH)
    if curve.is_empty():
        st.caption(f"No provider has answered {ENOUGH} times in this time.")
        return
    most = queries.busiest(histogram, "provider", OTHER_SLOT)
    curve = curve.filter(pl.col("provider").is_in(most))
    st.altair_chart(
        speed_charts.quantile_chart(curve, slots(most), height=height),
        alt="Latency at every quantile by provider",
    )
    exports.offer("Distribution", curve, "quantiles")


def _draw_over_time(scope: Scope, requests: pl.DataFrame) -> None:
    period = scope.period
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    with st.container(horizontal=True, vertical_alignment="center", key="over_time_row"):
        heading = st.empty()
        whose = _choose("lines", [_EVERYBODY, _PROVIDERS])
    if whose != _PROVIDERS:
        heading.html(pieces.heading("Over time", "p50 to p95 of successful requests"))
        bands = latency_queries.over_time(
            requests, "request", starts, {"p50_ms": 0.5, "p95_ms": 0.95}
        ).rename({"samples": "succeeded"})
        st.altair_chart(
            charts.latency_chart(bands, bucket=period.bucket),
            alt="Latency of successful requests over time, from p50 to p95",
        )
        exports.offer("Over time", bands, "latency-over-time")
        return
    heading.html(pieces.heading("Over time", f"p95 of successful {scope.what}"))
    histogram = latency_sums.read(scope, (scope.total,), by=("provider",), is_by_time=True)
    whole = histogram.filter(pl.col("at").is_null())
    shown = queries.busiest(whole, "provider", queries.SHOWN_PROVIDERS)
    lines = latency_queries.by_provider(histogram, starts, shown)
    st.altair_chart(
        speed_charts.providers_chart(lines, slots(shown), bucket=period.bucket),
        alt="p95 latency of each provider over time",
    )
    exports.offer("Over time", lines, "latency-over-time")


def _draw_overhead(scope: Scope, requests: pl.DataFrame) -> None:
    st.html(pieces.heading("Gateway overhead", "what Tollway itself adds · p50, p99 dashed"))
    if scope.overhead is None:
        st.caption("It is not kept by key.")
        return
    period = scope.period
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    overhead = latency_queries.over_time(
        requests, scope.overhead, starts, {"p50": 0.5, "p99": 0.99}
    )
    if not overhead["samples"].sum():
        st.caption("Nothing was measured in this time.")
        return
    st.altair_chart(
        speed_charts.overhead_chart(overhead, bucket=period.bucket),
        alt="What the gateway itself added over time, p50 and p99",
    )
    exports.offer("Gateway overhead", overhead, "overhead")


def _draw_table(scope: Scope, found: pl.DataFrame, past: pl.DataFrame, by: str) -> None:
    metrics = {"total": scope.total, "ttft": scope.ttft, "speed": scope.speed}
    table = latency_queries.table(found, past, by, metrics)
    word = next(name for name, one in _DIMENSIONS.items() if one == by)
    st.html(pieces.heading(word, f"successful {scope.what}, slowest first"))
    st.html(pieces.table(_columns(word, scope), _rows(table.head(_MOST_ROWS), by)))
    if table.height > _MOST_ROWS:
        st.caption(f"{table.height - _MOST_ROWS} more are in the export.")
    exports.offer(word, table, "latency")


def _columns(word: str, scope: Scope) -> tuple[Column, ...]:
    return (
        Column(name=word.removesuffix("s")),
        Column(name=scope.what.capitalize(), is_number=True),
        *(Column(name=name, is_number=True, hint="Whole duration.") for name in SHARES),
        Column(name="p95 change", is_number=True, hint="Against the period before."),
        Column(name="First token p95", is_number=True, hint="Of streams."),
        Column(name="Tokens/s p50", is_number=True, hint="Of output, from the first token on."),
    )


def _rows(table: pl.DataFrame, by: str) -> list[Row]:
    providers = table.select(provider=_provider_of(by))["provider"].to_list()
    colours = {} if by == "model" else slots(providers)
    return [
        Row(
            cells=(
                Cell(text=row["name"], slot=colours.get(provider)),
                Cell(text=numbers.count(row["samples"])),
                *(
                    Cell(text=numbers.duration(row[name]), hint=_why(row["samples"]))
                    for name in SHARES
                ),
                Cell(
                    text=numbers.change(row["change"]) or numbers.UNKNOWN,
                    tone=tones.tone_of(row["change"], from_=tones.LATENCY, more_is_good=False),
                ),
                _few(numbers.duration(row["ttft"]), row["ttft_samples"]),
                _few(
                    numbers.UNKNOWN if row["speed"] is None else f"{row['speed']:,.0f}",
                    row["speed_samples"],
                ),
            )
        )
        for row, provider in zip(table.iter_rows(named=True), providers, strict=True)
    ]


def _few(text: str, samples: int | None) -> Cell:
    """What is not told has the number of samples below that it would rest on."""
    too_few = bool(samples) and (samples or 0) < ENOUGH
    return Cell(text=text, sub=f"of {samples}" if too_few else "", hint=_why(samples or 0))


def _why(samples: int) -> str:
    if samples >= ENOUGH:
        return f"from {numbers.count(samples)} samples"
    return f"{samples} samples; it takes {ENOUGH}"
