"""One gateway for a module's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.conformance.provider import Gateway, open_gateway


@pytest.fixture(scope="module")
async def _opened() -> AsyncIterator[Gateway]:
    async with open_gateway() as gateway:
        yield gateway


@pytest.fixture
def gateway(_opened: Gateway) -> Gateway:
    """With a provider that answers well."""
    _opened.become()
    return _opened
