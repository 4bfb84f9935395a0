"""A migrated database for the tests of budgets."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.storage.samples import engine_of, migrated


@pytest.fixture(scope="session")
def budgets_template(postgres_dsn: Callable[..., str]) -> str:
    """Never connected to: databases are copied from it."""
    return migrated(postgres_dsn)


@pytest.fixture
def dsn(postgres_dsn: Callable[..., str], budgets_template: str) -> str:
    return postgres_dsn(template=budgets_template)


@pytest.fixture
async def engine(anyio_backend: str, dsn: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_of(dsn)
    yield engine
    await engine.dispose()
