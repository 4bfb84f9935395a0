"""A migrated database for each module, and a connection to it that leaves nothing behind."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.storage.samples import migrated, patient_engine_of


@pytest.fixture(scope="module")
def dsn(postgres_dsn: Callable[..., str]) -> str:
    return migrated(postgres_dsn)


@pytest.fixture
async def connection(anyio_backend: str, dsn: str) -> AsyncIterator[AsyncConnection]:
    """In a transaction that is rolled back."""
    engine = patient_engine_of(dsn)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()
