"""Databases to look at: one without a record, one with a few days of traffic."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import streamlit as st

import migrations
from dashboard.installation import Installation, show
from dashboard.pool import Pool
from tests.benchmarks.history import make_history
from tests.dashboard import rich, traffic

# So that a bucket's edge never falls between writing the records and reading them.
END = datetime.now(UTC)
RECORDS = tuple(traffic.made_up_records(400, end=END))
FALLBACK = traffic.fallback_record(END)


@pytest.fixture(scope="session")
def empty_url(postgres_dsn: Callable[..., str]) -> str:
    url = postgres_dsn()
    migrations.upgrade(url)
    return url


@pytest.fixture(scope="session")
def filled_url(postgres_dsn: Callable[..., str]) -> str:
    url = postgres_dsn()
    migrations.upgrade(url)
    traffic.fill(url, [*RECORDS, FALLBACK])
    return url


@pytest.fixture(scope="session")
def rich_url(postgres_dsn: Callable[..., str]) -> str:
    url = postgres_dsn()
    migrations.upgrade(url)
    rich.fill(url, rich.records(END), at=END)
    return url


@pytest.fixture(scope="session")
def large_url(postgres_dsn: Callable[..., str]) -> str:
    """A month in which quarters, hours and days hold many rows each."""
    url = postgres_dsn()
    make_history(url, 20_000, days=31, is_quiet=True)
    return url


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Streamlit's tests run a script as the main module, and processes begun later would run it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def shown() -> Iterator[Callable[[str], None]]:
    """Call it with the URL of the database that the dashboard shall show."""
    pools: list[Pool] = []

    def start(url: str) -> None:
        # A property test calls this for each of its examples.
        while pools:
            pools.pop().close()
        pools.append(Pool(url))
        show(Installation(pool=pools[-1]))
        st.cache_data.clear()

    yield start
    st.cache_data.clear()
    for pool in pools:
        pool.close()
