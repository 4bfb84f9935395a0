"""Factories that the adapters' tests share."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.providers.base import Quirks, Target
from pricing.catalogue import Endpoint

MakeTarget = Callable[..., Target]


@pytest.fixture
def make_target() -> MakeTarget:
    """A target whose endpoint and quirks can be varied: ``make_target(usage_flavour="xai")``."""

    def make(
        *, provider: str = "acme", capabilities: dict[str, bool] | None = None, **quirks: Any
    ) -> Target:
        endpoint = Endpoint(
            id=f"{provider}/native-1",
            provider=provider,
            provider_model="native-1",
            model="acme/one",
            capabilities=capabilities or {},
        )
        return Target(endpoint=endpoint, base_url="http://127.0.0.1:9/v1", quirks=Quirks(**quirks))

    return make


@pytest.fixture
def target(make_target: MakeTarget) -> Target:
    """A target with the default quirks."""
    return make_target()
