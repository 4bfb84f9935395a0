"""Wishes about prices are checked before they are recorded, and told what they would do."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pricing.catalogue import Catalogue, CatalogueError, endpoint_from_config, make_catalogue
from pricing.catalogue import load_catalogue as load
from pricing.deciding import Decision, PriceWish, decide
from pricing.declaration import version_from_terms
from pricing.endpoint import Provider
from pricing.operator_layer import PriceChange, apply_changes
from pricing.price import PriceVersion, resolve
from pricing.terms import terms_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)
D = Decimal


def tables() -> Catalogue:
    tiered: dict[str, Any] = {
        "id": "large",
        "model": "acme/large",
        "input_usd_per_mtok": D(2),
        "output_usd_per_mtok": D(8),
        "cache_read_usd_per_mtok": D("0.2"),
        "size_tiers": [{"min_prompt_tokens": 1000, "scale": D(2)}],
    }
    return make_catalogue(
        providers=[Provider(id="acme", name="Acme")],
        models=[],
        endpoints=[endpoint_from_config("acme", tiered)],
        version="v1",
    )


def wish(kind: Any = "price", target: str = "acme/large", **fields: Any) -> PriceWish:
    known: dict[str, Any] = {"reason": "contract 7"}
    return PriceWish(kind=kind, target=target, **(known | fields))


def decided(asked: PriceWish, *changes: PriceChange) -> Decision:
    return decide(asked, tables(), changes, at=NOW, actor="ann")


def recorded(decision: Decision, number: int = 1) -> PriceChange:
    """As it comes back from a database: with an id, through JSON."""
    change = msgspec.structs.replace(decision.change, id=str(number))
    return msgspec.json.decode(msgspec.json.encode(change), type=PriceChange)


def rates(changes: list[PriceChange], at: datetime, tokens: int = 1) -> tuple[Any, ...]:
    endpoint = apply_changes(tables(), changes).endpoints_by_id["acme/large"]
    price = resolve(endpoint, at=at, prompt_tokens=tokens)
    assert price is not None
    return price.input_usd_per_mtok, price.cache_read_usd_per_mtok, price.output_usd_per_mtok


def test_rates_that_are_not_named_stay_and_so_do_conditions() -> None:
    decision = decided(wish(rates={"input_usd_per_mtok": "1.5"}))

    (effect,) = decision.effects
    assert effect.before is not None
    assert effect.after is not None
    assert (effect.before.input_usd_per_mtok, effect.after.input_usd_per_mtok) == (2, D("1.5"))
    change = recorded(decision)
    assert rates([change], NOW) == (D("1.5"), D("0.2"), 8)
    assert rates([change], NOW, tokens=1000) == (3, D("0.4"), 16)
    assert rates([change], NOW - timedelta(seconds=1)) == (2, D("0.2"), 8)


def test_what_stays_is_not_discounted_twice() -> None:
    off = recorded(decided(wish("discount", factor="0.5")), 1)

    dearer = recorded(decided(wish(rates={"input_usd_per_mtok": "3"}), off), 2)

    assert rates([off, dearer], NOW) == (D("1.5"), D("0.1"), 4)


def test_conditions_can_be_dropped() -> None:
    change = recorded(decided(wish(rates={"input_usd_per_mtok": "1"}, conditions="drop")))

    assert rates([change], NOW, tokens=1000) == (1, D("0.2"), 8)


def test_what_is_revoked_is_what_it_was_before() -> None:
    first = recorded(decided(wish(rates={"input_usd_per_mtok": "1"})))
    revoked = recorded(decided(wish("revoke", "1"), first), 2)

    assert rates([first, revoked], NOW) == (2, D("0.2"), 8)
    with pytest.raises(CatalogueError, match="still stands"):
        decided(wish("revoke", "1"), first, revoked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (wish(target="acme/larg", rates={"input_usd_per_mtok": "1"}), "acme/large"),
        (wish(target="acme", rates={"input_usd_per_mtok": "1"}), "no endpoint"),
        (wish(), "no rate is named"),
        (wish(rates={"input_usd_per_mtk": "1"}), "is no rate"),
        (wish(rates={"input_usd_per_mtok": "abc"}), "input_usd_per_mtok"),
        (wish(rates={"input_usd_per_mtok": "900"}), "slip of the unit"),
        (wish(rates={"input_usd_per_mtok": "0"}), "free"),
        (wish(rates={"input_usd_per_mtok": "1"}, reason=" "), "reason"),
        (wish(rates={"input_usd_per_mtok": "1"}, effective_to=NOW), "later than"),
        (wish(rates={"input_usd_per_mtok": "1"}, effective_from=datetime(2026, 1, 1)), "zone"),  # noqa: DTZ001
        (wish("discount", factor="0"), "above 0"),
        (wish("discount", factor="x"), "above 0"),
        (wish("discount", "nobody", factor="0.5"), "no endpoint"),
        (wish("revoke", "7"), "still stands"),
        (wish("endpoint", "nobody/x", endpoint={"input_usd_per_mtok": "1"}), "known provider"),
        (wish("endpoint", "acme/x", endpoint={"input_usd_per_mtok": "1"}), "output_usd_per_mtok"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(asked: PriceWish, said: str) -> None:
    with pytest.raises(CatalogueError, match=said):
        decided(asked)


def test_every_shipped_price_can_be_written_out_and_read_again() -> None:
    for endpoint in load().endpoints_by_id.values():
        for version in endpoint.prices:
            again = version_from_terms(endpoint.id, terms_of(version))
            assert same(again) == same(version), endpoint.id


def same(version: PriceVersion) -> PriceVersion:
    """Without what a version's terms leave out."""
    return msgspec.structs.replace(
        version,
        id="",
        base=msgspec.structs.replace(version.base, version="", is_free=False),
        effective_from=None,
        effective_to=None,
        source=None,
        checked_on=None,
    )
