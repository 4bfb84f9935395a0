"""The dashboard as its own process, and a Chromium that reports whatever should not happen."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

import migrations
from gateway.domain.records import RequestRecord
from gateway.storage.roles import ensure_reader
from tests.dashboard import traffic

CHROMIUM = Path("/usr/bin/chromium")
OUTPUT = Path(__file__).with_name("output")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WITHIN_MS = 20_000
IS_DRAWN = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const charts = [...document.querySelectorAll('.stVegaLiteChart')];
  return app && app.dataset.testScriptState === 'notRunning'
    && app.dataset.testConnectionState === 'CONNECTED'
    && !document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]')
    && !document.querySelector('[data-stale=true]')
    && charts.every((chart) => chart.querySelector('svg.marks'));
}"""


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """Where it runs, and what it shows."""

    url: str
    requests: int
    fallback_id: str = ""


class Visit:
    """A page of one browser, and everything that it did wrong."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._see)

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path)
        self.wait()
        return self.page

    def wait(self) -> None:
        self.page.wait_for_function(IS_DRAWN, timeout=WITHIN_MS)

    def check(self) -> None:
        assert self.page.locator("[data-testid=stException]").count() == 0
        assert self.page.locator("[data-testid=stAlertContainer]").count() == 0
        assert self.complaints == []
        assert self.strangers == []

    def picture(self, name: str) -> None:
        """The whole page, for a person to look at."""
        page = self.page
        width = page.evaluate("window.innerWidth")
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": max(900, height)})
        self.wait()
        # Charts follow a new size after a pause of their own.
        page.wait_for_timeout(700)
        OUTPUT.mkdir(exist_ok=True)
        page.screenshot(path=OUTPUT / f"{name}.png")

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} {message.location}")

    def _see(self, request: Any) -> None:
        own = (self.url, self.url.replace("http:", "ws:"), "data:", "blob:")
        if not request.url.startswith(own):
            self.strangers.append(request.url)


# Of a module and no longer: Playwright keeps a loop running in this thread, in which no other test
# could start one of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        except Error as exc:
            pytest.skip(f"{CHROMIUM} does not start: {str(exc)[:200]}")
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Call it with a URL; width, colour scheme and the reader's own zone may be given."""
    contexts: list[Any] = []

    def open_context(
        url: str, *, width: int = 1280, scheme: Any = "light", zone: str = "Europe/Berlin"
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            timezone_id=zone,
            locale="en-GB",
        )
        contexts.append(context)
        return Visit(context.new_page(), url)

    yield open_context
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Call it with the URL of a database for the URL of a dashboard that shows it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(database_url: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        orders = {"database_url": database_url, "port": 0}
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        process.stdin.flush()
        return str(json.loads(process.stdout.readline())["url"])

    yield start
    for process in started:
        # The end of its standard input ends it.
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def filled(
    browser: Browser, postgres_dsn: Callable[..., str], serve: Callable[[str], str]
) -> Dashboard:
    now = datetime.now(UTC)
    fallback = traffic.fallback_record(now)
    records = [*traffic.made_up_records(2_000, end=now), fallback]
    return Dashboard(
        url=serve(_prepared(postgres_dsn(), records)),
        requests=len(records),
        fallback_id=f"gen-{fallback.id.hex}",
    )


@pytest.fixture(scope="module")
def empty(
    browser: Browser, postgres_dsn: Callable[..., str], serve: Callable[[str], str]
) -> Dashboard:
    return Dashboard(url=serve(_prepared(postgres_dsn(), [])), requests=0)


def _prepared(url: str, records: list[RequestRecord]) -> str:
    """The address of the role that can only read, as `tollway up` gives it to the dashboard."""

    def prepare() -> str:
        migrations.upgrade(url)
        if records:
            traffic.fill(url, records)
        return ensure_reader(url, "for-tests")

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(prepare).result()
