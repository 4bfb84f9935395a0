"""What an answer says of a model that the gateway chose."""

import json

from gateway.chat.routing_report import LISTED_POOL, make_metadata, render_metadata


def test_an_answer_names_the_pool_that_its_model_was_chosen_from() -> None:
    metadata = make_metadata(
        requested_model="auto", requested_provider=None, attempts=(), pool=("acme/a", "acme/b")
    )

    assert json.loads(render_metadata(metadata))["pool"] == ["acme/a", "acme/b"]


def test_a_model_of_ones_own_has_no_pool_and_a_long_one_is_cut() -> None:
    own = make_metadata(requested_model="acme/a", requested_provider=None, attempts=())
    many = make_metadata(
        requested_model="auto",
        requested_provider=None,
        attempts=(),
        pool=[f"acme/{n}" for n in range(100)],
    )

    assert "pool" not in json.loads(render_metadata(own))
    assert len(many.pool) == LISTED_POOL
