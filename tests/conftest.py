"""What every test may use: the anyio backend and real databases.

The fixtures of a session stand here alone: where a second conftest shows them again, pytest makes a
second one of each, and the first to be torn down takes the server away from the other.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.properties import load_profile
from tests.storage.conftest import DatabaseServer, make_test_server
from tests.storage.samples import migrated, patient_engine_of

load_profile()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    run_dir = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist have a directory each below that of the run.
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    server = make_test_server(run_dir.parent if is_worker else run_dir)
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_dsn(database_server: DatabaseServer) -> Callable[..., str]:
    """Call it for the URL of a fresh database: empty, or a copy of ``template=url``."""
    return database_server.create_database


@pytest.fixture(scope="module")
def dsn(postgres_dsn: Callable[..., str]) -> str:
    """Of a migrated database, one for each module."""
    return migrated(postgres_dsn)


@pytest.fixture
async def connection(anyio_backend: str, dsn: str) -> AsyncIterator[AsyncConnection]:
    """In a transaction that is rolled back."""
    engine = patient_engine_of(dsn)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()
