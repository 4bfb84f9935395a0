"""Latency and Reliability over a lot of traffic, many endpoints and thousands of changes."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import migrations
from dashboard import timeline
from gateway.domain.records import RequestRecord
from tests.dashboard import traffic
from tests.dashboard.conftest import END
from tests.dashboard.test_views import html, open_view
from tests.dashboard.troubles import add, change, fill_health

REQUESTS, PROVIDERS, CHANGES = 3_000, 24, 6_000


@pytest.fixture(scope="module")
def large_url(postgres_dsn: Callable[..., str]) -> str:
    url = postgres_dsn()
    migrations.upgrade(url)
    draw = random.Random(11)
    records = [
        _elsewhere(one, f"host-{draw.randrange(PROVIDERS):02}")
        for one in traffic.made_up_records(REQUESTS, end=END, days=25)
    ]
    traffic.fill(url, records[:50])
    add(url, records[50:])
    fill_health(
        url,
        [
            change(
                END - timedelta(seconds=draw.random() * 86_400 * 6),
                draw.choice(("open", "half_open", "closed", "cooling")),
                number,
                provider=f"host-{number % PROVIDERS:02}",
                endpoint=f"host-{number % PROVIDERS:02}/model-{number % 5}",
            )
            for number in range(1, CHANGES + 1)
        ],
    )
    return url


def _elsewhere(record: RequestRecord, provider: str) -> RequestRecord:
    """The same, answered by another provider."""
    if not record.attempts:
        return record
    *before, last = record.attempts
    endpoint = f"{provider}/{last.model.split('/')[-1]}"
    last = msgspec.structs.replace(last, provider=provider, endpoint=endpoint)
    is_served = record.used_provider is not None
    return msgspec.structs.replace(
        record,
        attempts=(*before, last),
        used_provider=provider if is_served else None,
        used_endpoint=endpoint if is_served else None,
    )


@pytest.mark.parametrize("path", ["latency", "reliability"])
@pytest.mark.parametrize("period", ["1h", "7d", "90d"])
def test_a_lot_is_drawn_with_few_marks(
    large_url: str, shown: Callable[[str], None], path: str, period: str
) -> None:
    shown(large_url)

    at = open_view(path, period=period)

    assert not at.exception
    assert not at.error
    charts: list[Any] = list(at.get("vega_lite_chart"))
    assert charts
    for chart in charts:
        sizes = [len(data.data.data) for data in chart.proto.datasets]
        assert len(chart.proto.spec) + sum(sizes) < 300_000
    assert len(html(at)) < 200_000


def test_the_worst_lanes_are_shown_and_the_others_counted(
    large_url: str, shown: Callable[[str], None]
) -> None:
    shown(large_url)

    at = open_view("reliability", period="7d")

    more = PROVIDERS * 5 - timeline.MOST_LANES
    assert any(f"{more} more had shorter troubles." in one.value for one in at.caption)


def test_providers_by_the_dozen_have_a_colour_each_page_can_draw(
    large_url: str, shown: Callable[[str], None]
) -> None:
    shown(large_url)

    at = open_view("latency", period="30d", lines="Providers", lanes="Providers")

    assert not at.exception
    assert html(at).count("tw-slot-") >= PROVIDERS
