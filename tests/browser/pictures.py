"""``make pictures``: the pictures of the README, taken of the demo as it is when it is opened.

Prints how long the pages took as well.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright
from sqlalchemy import func, select

from gateway.demo.scenario import REQUESTS
from gateway.domain.ids import to_generation_id
from gateway.storage.tables import request_record
from tests.browser.conftest import CHROMIUM, FLAGS, Visit
from tests.browser.demo import Shown, shown

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MOST_BYTES = 150_000
_WIDTH, _HEIGHT = 1280, 900
_COLOURS = 256
_MARGIN = 14


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A page, and how it is shown."""

    name: str
    path: Callable[[Shown], str]
    last: str
    """The card that it ends with."""
    scheme: str = "light"


PICTURES = (
    Picture(name="overview", path=lambda _: "/", last="notices"),
    Picture(name="request", path=lambda demo: f"/requests?id={_rescued(demo)}", last="cost"),
    Picture(name="reliability", path=lambda _: "/reliability", last="timeline", scheme="dark"),
    Picture(name="prices", path=lambda _: "/prices?endpoint=simulated-dune/fast", last="history"),
)


def main() -> None:
    """Take them all; an argument is how many requests the past has."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as home, shown(Path(home), requests=requests) as demo:
        paths = {one.name: one.path(demo) for one in PICTURES}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            for one in PICTURES:
                _take(browser, demo, one, paths[one.name])
            _time_filter(browser, demo)
            browser.close()


def _take(browser: Browser, demo: Shown, picture: Picture, path: str) -> None:
    visit = _visit(browser, demo, picture.scheme)
    began_s = time.monotonic()
    visit.open(path)
    print(f"{picture.name}: drawn after {time.monotonic() - began_s:.2f} s")
    whole = visit.picture(f"readme-{picture.name}")
    box = visit.page.locator(f".st-key-{picture.last}").bounding_box()
    if box is None:
        raise ValueError(f"{picture.name} has no card {picture.last!r}")
    small = _reduced(whole, round(box["y"] + box["height"]) + _MARGIN)
    visit.check()
    if len(small) > MOST_BYTES:
        raise ValueError(f"{picture.name} takes {len(small):,} of {MOST_BYTES:,} bytes")
    (FOLDER / f"{picture.name}.png").write_bytes(small)
    visit.page.context.close()


def _time_filter(browser: Browser, demo: Shown) -> None:
    visit = _visit(browser, demo, "light")
    page = visit.open()
    began_s = time.monotonic()
    page.get_by_role("radio", name="24h").click()
    expect(page.locator(".st-key-spend .tw-heading")).to_contain_text("per 30 minutes")
    visit.wait()
    print(f"another period: drawn after {time.monotonic() - began_s:.2f} s")


def _visit(browser: Browser, demo: Shown, scheme: Any) -> Visit:
    context = browser.new_context(
        viewport={"width": _WIDTH, "height": _HEIGHT},
        color_scheme=scheme,
        timezone_id="Europe/Berlin",
        locale="en-GB",
    )
    return Visit(context.new_page(), demo.url)


def _rescued(demo: Shown) -> str:
    """The newest streamed request that was tried twice or more, and answered."""
    record = request_record.c
    tells_most = func.jsonb_array_length(record.plan["excluded"]).desc()
    newest = (
        select(record.id)
        .where(record.is_fallback, record.outcome == "success", record.stream)
        .order_by(tells_most.nulls_last(), record.received_at.desc())
        .limit(1)
    )
    return to_generation_id(demo.ask(newest)[0].id)


def _reduced(png: bytes, height: int) -> bytes:
    """The upper part, in so many colours that those of small marks are among them."""
    with Image.open(io.BytesIO(png)) as whole:
        top = whole.convert("RGB").crop((0, 0, whole.width, min(whole.height, height)))
    found = io.BytesIO()
    few = top.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(found, "PNG", optimize=True)
    return found.getvalue()


if __name__ == "__main__":
    main()
