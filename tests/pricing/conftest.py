"""What several tests of pricing need: the shipped catalogue, and endpoints made from a few keys."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from pricing.catalogue import Catalogue, Endpoint, endpoint_from_config, load_catalogue

MakeEndpoint = Callable[..., Endpoint]


@pytest.fixture(scope="session")
def shipped() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def make_endpoint() -> MakeEndpoint:
    """Makes an endpoint from TOML keys; prices default to 1 and 2 USD per million tokens."""

    def make(**keys: Any) -> Endpoint:
        if "prices" not in keys:
            keys = {
                "input_usd_per_mtok": Decimal(1),
                "output_usd_per_mtok": Decimal(2),
                **keys,
            }
        return endpoint_from_config("acme", {"id": "m1", "model": "acme/m1", **keys})

    return make
