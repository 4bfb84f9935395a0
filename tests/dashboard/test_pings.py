import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from dashboard.pings import Pings

CLIENT = TestClient(Starlette(middleware=[Middleware(Pings)]))


@pytest.mark.parametrize("path", ["/spend/_stcore/health", "/requests/_stcore/host-config"])
def test_what_is_looked_for_below_a_page_is_answered_with_nothing(path: str) -> None:
    answer = CLIENT.get(path)

    assert answer.status_code == 200
    assert answer.json() is None


@pytest.mark.parametrize("path", ["/_stcore/health", "/spend", "/spend/_stcore/stream"])
def test_everything_else_is_handed_on(path: str) -> None:
    assert CLIENT.get(path).status_code == 404
