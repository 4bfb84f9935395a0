"""Installations to look at, and a Chromium that reports whatever should not happen."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.browser.demo import REQUESTS, Shown, shown

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
_HEIGHT = 900
IS_DRAWN = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const charts = [...document.querySelectorAll('.stVegaLiteChart')];
  return app && app.dataset.testScriptState === 'notRunning'
    && app.dataset.testConnectionState === 'CONNECTED'
    && !document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]')
    && !document.querySelector('[data-stale=true]')
    && charts.every((chart) => chart.querySelector('svg.marks'));
}"""
# Charts follow a new size after a pause of their own.
IS_FITTED = """() => [...document.querySelectorAll('.stVegaLiteChart')].every((chart) =>
  Math.abs(chart.clientWidth - chart.querySelector('svg.marks').getBoundingClientRect().width) < 2
)"""


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
        # A chart that is not drawn yet has not complained yet.
        self.wait()
        assert self.page.locator("[data-testid=stException]").count() == 0
        assert self.page.locator("[data-testid=stAlertContainer]").count() == 0
        assert self.complaints == []
        assert self.strangers == []

    def look(self, *, width: int, scheme: Any) -> None:
        """Go on with another window and other colours, without asking the server anew."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": _HEIGHT})
        self.page.wait_for_function(IS_FITTED, timeout=WITHIN_MS)

    def picture(self, name: str) -> bytes:
        """The whole page as a PNG, kept for a person to look at."""
        page = self.page
        width = page.evaluate("window.innerWidth")
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": max(_HEIGHT, height)})
        self.wait()
        page.wait_for_function(IS_FITTED, timeout=WITHIN_MS)
        # Tables are painted in the next frame or the one after it.
        page.evaluate("new Promise((go) => requestAnimationFrame(() => setTimeout(go, 50)))")
        OUTPUT.mkdir(exist_ok=True)
        return page.screenshot(path=OUTPUT / f"{name}.png")

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
    _need_chromium()
    # A machine that is busy with other tests is slow, not wrong.
    expect.set_options(timeout=WITHIN_MS)
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
            viewport={"width": width, "height": _HEIGHT},
            color_scheme=scheme,
            timezone_id=zone,
            locale="en-GB",
        )
        contexts.append(context)
        return Visit(context.new_page(), url)

    yield open_context
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Two weeks of made-up traffic that are over; tests only look at them."""
    _need_chromium()
    with shown(tmp_path_factory.mktemp("demo"), requests=REQUESTS) as found:
        yield found


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """An installation that nobody has asked for anything."""
    _need_chromium()
    with shown(tmp_path_factory.mktemp("fresh")) as found:
        yield found


def _need_chromium() -> None:
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
