"""What every test may use: the anyio backend and real databases."""

import pytest

from tests.storage.conftest import database_server, postgres_dsn

__all__ = ["database_server", "postgres_dsn"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio."""
    return "asyncio"
