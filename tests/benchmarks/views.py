"""How long the dashboard takes over a long history: data of every view, and drawn in Chromium.

``python -m tests.benchmarks.views --directory D | --database-url URL`` times a history that
`tests.benchmarks.history` left there. The server runs with the settings of ``tollway up``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import streamlit as st
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table
from streamlit.testing.v1 import AppTest

import migrations
from dashboard import records
from dashboard.installation import Installation, show
from dashboard.pool import Fold, Pool
from dashboard.views import VIEWS, View
from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.roles import ensure_reader
from tests.benchmarks.history import make_in
from tests.browser.conftest import CHROMIUM, FLAGS, IS_DRAWN

DATA_MS, OPEN_MS, CLICK_MS, PAGE_MS = 1_000, 5_000, 1_500, 300
"""What is promised over ten million requests."""

PERIODS = ("24h", "7d", "30d", "90d")
NARROWINGS: dict[str, dict[str, str]] = {
    "": {},
    "provider": {"provider": "provider-03"},
    "key": {"key": "key 07"},
    "label": {"label": "team=team-2"},
}
SEARCHES: dict[str, dict[str, str]] = {
    "a user": {"q": "user-77"},
    "no user": {"q": "nobody"},
    "a high cost": {"cost_from": "1000"},
    "no label": {"label": "team=nobody"},
}
"""Of single requests; all but the first find nothing, however far they look."""
ZONE = "Europe/Berlin"
_PAGES = 5
_ROOT = Path(__file__).parents[2]


class ViewFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One view, read once with nothing remembered."""

    view: str
    period: str
    narrowed_by: str
    statements: int
    data_ms: float
    """While any statement was under way: several are read side by side."""
    added_ms: float
    """What all of them took, one after the other."""
    slowest_ms: float
    slowest: str
    """The beginning of the slowest statement."""
    drawn_ms: float
    """With everything that Python does for it."""


class HistoryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the dashboard takes over a history."""

    requests: int
    load_average: float
    views: list[ViewFigures]
    next_page_ms: list[float]
    first_open_ms: float | None = None
    """In Chromium, as everything below; None without one."""
    after_click_ms: dict[str, float] = {}


class _Taken(NamedTuple):
    """When a statement was under way."""

    began_s: float
    ended_s: float
    sql: str

    @property
    def ms(self) -> float:
        return (self.ended_s - self.began_s) * 1000


class _Recorder(Pool):
    """A pool that remembers when each statement was under way."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.taken: list[_Taken] = []

    def read(self, sql: str, parameters: list[object], fold: Fold | None = None) -> pl.DataFrame:
        began_s = time.perf_counter()
        try:
            return super().read(sql, parameters, fold)
        finally:
            self.taken.append(_Taken(began_s, time.perf_counter(), sql))


def measure_new(requests: int, *, periods: Sequence[str] = PERIODS) -> HistoryFigures:
    """Make a history, time it and remove it."""
    with tempfile.TemporaryDirectory(prefix="tollway-history-") as name:
        directory = Path(name)
        make_in(directory, requests)
        server = EmbeddedPostgres(directory)
        try:
            return measure(server.start(), periods=periods)
        finally:
            server.stop()


def measure(
    dsn: str, *, periods: Sequence[str] = PERIODS, has_browser: bool = True
) -> HistoryFigures:
    """Time a history. ``dsn`` is the address of the gateway's own role."""
    migrations.upgrade(dsn)
    url = ensure_reader(dsn, "for-benchmarks")
    pool = _Recorder(url)
    show(Installation(pool=pool))
    try:
        requests = _count(pool)
        views = [
            _time_view(pool, view.path, period, name)
            for view in VIEWS
            for period in periods
            for name in _asked(view)
        ]
        pages = _time_pages()
    finally:
        pool.close()
    figures = HistoryFigures(
        requests=requests, load_average=os.getloadavg()[0], views=views, next_page_ms=pages
    )
    if not has_browser or not CHROMIUM.exists():
        return figures
    opened_ms, clicked_ms = _time_browser(url)
    return msgspec.structs.replace(figures, first_open_ms=opened_ms, after_click_ms=clicked_ms)


def _asked(view: View) -> tuple[str, ...]:
    if not view.is_of_records:
        return ("",)
    return (*NARROWINGS, *SEARCHES) if view.path == "requests" else tuple(NARROWINGS)


def show_figures(figures: HistoryFigures, console: Console) -> None:
    """Print them; what misses its promise is marked."""
    title = f"The dashboard over {figures.requests:,} requests; load {figures.load_average:.1f}"
    table = Table("view", "period", "narrowed by", title=title)
    for name in ("statements", "data, ms", "added up", "slowest, ms", "drawn, ms"):
        table.add_column(name, justify="right")
    for one in figures.views:
        table.add_row(
            one.view,
            one.period,
            one.narrowed_by,
            str(one.statements),
            _marked(one.data_ms, DATA_MS),
            f"{one.added_ms:,.0f}",
            f"{one.slowest_ms:,.0f}",
            f"{one.drawn_ms:,.0f}",
        )
    console.print(table)
    pages = ", ".join(_marked(one, PAGE_MS) for one in figures.next_page_ms)
    console.print(f"Next pages of requests: {pages} ms")
    if figures.first_open_ms is not None:
        console.print(f"First open in Chromium: {_marked(figures.first_open_ms, OPEN_MS)} ms")
    for what, took_ms in figures.after_click_ms.items():
        console.print(f"Drawn after {what}: {_marked(took_ms, CLICK_MS)} ms")


def _marked(took_ms: float, limit_ms: float) -> str:
    return f"{took_ms:,.0f}" if took_ms <= limit_ms else f"[bold red]{took_ms:,.0f}[/]"


def _script(path: str) -> None:
    from datetime import UTC, datetime

    from dashboard.filters import choose_narrowing, choose_period
    from dashboard.views import VIEWS

    view = next(view for view in VIEWS if view.path == path)
    period = choose_period(datetime.now(UTC))
    choose_narrowing()
    view.render(period)


def _time_view(pool: _Recorder, path: str, period: str, name: str) -> ViewFigures:
    st.cache_data.clear()
    pool.taken.clear()
    app = AppTest.from_function(_script, args=(path,))
    for key, value in {"period": period, "tz": ZONE, **(NARROWINGS | SEARCHES)[name]}.items():
        app.query_params[key] = value
    began_s = time.perf_counter()
    app.run(timeout=120)
    drawn_ms = (time.perf_counter() - began_s) * 1000
    slowest = max(pool.taken, key=lambda one: one.ms, default=_Taken(0.0, 0.0, ""))
    return ViewFigures(
        view=path,
        period=period,
        narrowed_by=name,
        statements=len(pool.taken),
        data_ms=_covered_ms(pool.taken),
        added_ms=sum(one.ms for one in pool.taken),
        slowest_ms=slowest.ms,
        slowest=slowest.sql[:400],
        drawn_ms=drawn_ms,
    )


def _covered_ms(taken: Sequence[_Taken]) -> float:
    covered_s = reached_s = 0.0
    for one in sorted(taken):
        covered_s += max(0.0, one.ended_s - max(one.began_s, reached_s))
        reached_s = max(reached_s, one.ended_s)
    return covered_s * 1000


def _time_pages() -> list[float]:
    end = datetime.now(UTC)
    start = end - timedelta(days=90)
    taken: list[float] = []
    before: str | None = None
    for _ in range(_PAGES):
        began_s = time.perf_counter()
        found = records.read_requests(start, end, before, 51)
        records.read_attempts(tuple(found["id"]))
        taken.append((time.perf_counter() - began_s) * 1000)
        before = found["id"][-2] if found.height > 1 else None
    return taken


def _count(pool: Pool) -> int:
    found = pool.read("SELECT sum(requests)::bigint AS requests FROM v_usage_request_day", [])
    return int(found["requests"][0] or 0)


def _time_browser(url: str) -> tuple[float, dict[str, float]]:
    with _dashboard(url) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            context = browser.new_context(
                viewport={"width": 1280, "height": 900}, timezone_id=ZONE, locale="en-GB"
            )
            page = context.new_page()
            opened_ms = _timed(lambda: page.goto(address), page)
            clicked_ms = {
                "90 days": _timed(lambda: page.get_by_text("90d", exact=True).click(), page),
                "7 days": _timed(lambda: page.get_by_text("7d", exact=True).click(), page),
                "a provider": _timed(lambda: page.goto(f"{address}/?provider=provider-03"), page),
            }
            page.goto(f"{address}/requests?period=90d")
            _wait(page)
            older = page.locator(".st-key-older button")
            clicked_ms["the next page of requests"] = _timed(older.click, page)
        finally:
            browser.close()
    return opened_ms, clicked_ms


def _timed(act: Any, page: Page) -> float:
    began_s = time.perf_counter()
    act()
    # A click takes a moment to reach the server; until then everything looks drawn.
    page.wait_for_timeout(100)
    _wait(page)
    return (time.perf_counter() - began_s) * 1000


def _wait(page: Page) -> None:
    page.wait_for_function(IS_DRAWN, timeout=60_000)


@contextmanager
def _dashboard(database_url: str) -> Generator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard.serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the dashboard has no pipes")
        process.stdin.write(json.dumps({"database_url": database_url, "port": 0}).encode() + b"\n")
        process.stdin.flush()
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        # The end of its standard input ends it.
        process.communicate(timeout=20)


def main() -> None:
    """Print what every view takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="of a server's data")
    parser.add_argument("--database-url")
    parser.add_argument("--periods", nargs="+", default=PERIODS)
    parser.add_argument("--without-browser", action="store_true")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    given = parser.parse_args()
    if (given.directory is None) == (given.database_url is None):
        parser.error("give a directory or an address")
    server = None if given.directory is None else EmbeddedPostgres(given.directory)
    try:
        dsn = given.database_url if server is None else server.start()
        figures = measure(dsn, periods=given.periods, has_browser=not given.without_browser)
    finally:
        if server is not None:
            server.stop()
    show_figures(figures, Console(width=120))
    if given.json is not None:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))


if __name__ == "__main__":
    main()
