"""Whoever opens the demo finds something to look at in every view of what was recorded."""

from collections.abc import Callable

import pytest
import streamlit as st

import migrations
from dashboard.installation import Installation, show
from dashboard.pool import Pool
from dashboard.views import VIEWS
from gateway.cli.demo import make_past
from tests.dashboard.test_views import everything, html, open_view


@pytest.fixture(scope="module")
def database(postgres_dsn: Callable[..., str]) -> str:
    url = postgres_dsn()
    migrations.upgrade(url)
    make_past(url, 1_500, pepper=b"pepper of these tests, 32 bytes.", with_rules=True, quiet=True)
    return url


@pytest.mark.parametrize("path", [one.path for one in VIEWS if one.is_of_records])
def test_every_view_has_something_to_show(database: str, path: str) -> None:
    pool = Pool(database)
    st.cache_data.clear()
    show(Installation(pool=pool))
    try:
        at = open_view(path, period="7d")
    finally:
        pool.close()
        st.cache_data.clear()

    assert not at.exception
    assert "No requests" not in everything(at)
    assert len(html(at)) + len(at.dataframe) > 0
