"""What an operator decides about prices, on top of the tables."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.catalogue import Catalogue, CatalogueError, endpoint_from_config, make_catalogue
from pricing.endpoint import Provider
from pricing.operator_layer import PriceChange, apply_changes
from pricing.price import Price, resolve

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
D = Decimal


def catalogue(**terms: Any) -> Catalogue:
    table: dict[str, Any] = {"id": "large", "model": "acme/large"}
    table |= terms or {"input_usd_per_mtok": D(2), "output_usd_per_mtok": D(8)}
    other = {"id": "small", "input_usd_per_mtok": D(1), "output_usd_per_mtok": D(1)}
    return make_catalogue(
        providers=[Provider(id="acme", name="Acme")],
        models=[],
        endpoints=[endpoint_from_config("acme", table), endpoint_from_config("acme", other)],
        version="v1",
    )


def change(kind: Any, number: int = 1, **fields: Any) -> PriceChange:
    known: dict[str, Any] = {
        "id": f"c{number}",
        "kind": kind,
        "target": "acme/large",
        "effective_from": T0,
        "recorded_at": T0,
        "recorded_by": "ann",
        "reason": "negotiated",
    }
    return PriceChange(**(known | fields))


def price(input_usd: int | str, output_usd: int | str, **more: Any) -> dict[str, Any]:
    return {"input_usd_per_mtok": D(input_usd), "output_usd_per_mtok": D(output_usd), **more}


def price_at(
    found: Catalogue, at: datetime, endpoint: str = "acme/large", tokens: int = 1
) -> Price:
    held = resolve(found.endpoints_by_id[endpoint], at=at, prompt_tokens=tokens)
    assert held is not None
    return held


def rates_at(found: Catalogue, at: datetime, **more: Any) -> tuple[Decimal | None, Decimal | None]:
    held = price_at(found, at, **more)
    return held.input_usd_per_mtok, held.output_usd_per_mtok


def test_a_price_holds_from_its_moment_on_and_not_before() -> None:
    found = apply_changes(catalogue(), [change("price", terms=price(1, 4))])

    assert rates_at(found, T0 - timedelta(microseconds=1)) == (2, 8)
    assert rates_at(found, T0) == (1, 4)
    assert price_at(found, T0).version == "acme/large@operator#c1"
    assert rates_at(found, T0, endpoint="acme/small") == (1, 1)


def test_a_price_that_ends_gives_way_to_the_tables_again() -> None:
    ends = T0 + 2 * HOUR
    found = apply_changes(catalogue(), [change("price", terms=price(1, 4), effective_to=ends)])

    assert rates_at(found, ends - timedelta(microseconds=1)) == (1, 4)
    assert rates_at(found, ends) == (2, 8)


def test_the_later_of_two_prices_wins_where_both_hold() -> None:
    first = change("price", 1, terms=price(1, 4))
    second = change("price", 2, terms=price(3, 5), effective_from=T0 + HOUR)
    found = apply_changes(catalogue(), [first, second])

    assert rates_at(found, T0) == (1, 4)
    assert rates_at(found, T0 + HOUR) == (3, 5)


def test_a_discount_takes_its_share_off_every_amount_and_condition() -> None:
    tables = catalogue(
        **price(2, 8, request_usd=D("0.01")),
        size_tiers=[{"min_prompt_tokens": 100, **price(4, 16)}],
    )
    found = apply_changes(tables, [change("discount", factor=D("0.9"))])

    assert rates_at(found, T0) == (D("1.8"), D("7.2"))
    assert price_at(found, T0).request_usd == D("0.009")
    assert rates_at(found, T0, tokens=100) == (D("3.6"), D("14.4"))
    assert rates_at(found, T0 - HOUR) == (2, 8)


def test_a_discount_works_on_the_operators_own_price() -> None:
    changes = [change("discount", 1, factor=D("0.5")), change("price", 2, terms=price(1, 4))]

    assert rates_at(apply_changes(catalogue(), changes), T0) == (D("0.5"), 2)


def test_an_endpoints_discount_stands_before_its_providers() -> None:
    changes = [
        change("discount", 1, factor=D("0.9")),
        change("discount", 2, target="acme", factor=D("0.5")),
    ]
    found = apply_changes(catalogue(), changes)

    assert rates_at(found, T0) == (D("1.8"), D("7.2"))
    assert rates_at(found, T0, endpoint="acme/small") == (D("0.5"), D("0.5"))


def test_a_revoked_change_ends_when_it_is_revoked() -> None:
    changes = [
        change("price", 1, terms=price(1, 4)),
        change("revoke", 2, target="c1", effective_from=T0 + HOUR),
    ]
    found = apply_changes(catalogue(), changes)

    assert rates_at(found, T0) == (1, 4)
    assert rates_at(found, T0 + HOUR) == (2, 8)


def test_a_change_that_is_revoked_before_it_holds_never_held() -> None:
    changes = [
        change("price", 1, terms=price(1, 4), effective_from=T0 + HOUR),
        change("revoke", 2, target="c1"),
    ]

    assert apply_changes(catalogue(), changes) == catalogue()


def test_an_endpoint_of_the_operators_own_is_offered() -> None:
    declared = {"model": "acme/own", **price(1, 1)}
    found = apply_changes(catalogue(), [change("endpoint", target="acme/own-1", endpoint=declared)])

    assert [endpoint.id for endpoint in found.endpoints_of("acme/own")] == ["acme/own-1"]


def test_an_endpoint_is_switched_off_for_a_time() -> None:
    off = change("disable", target="acme", effective_to=T0 + HOUR)
    endpoint = apply_changes(catalogue(), [off]).endpoints_by_id["acme/small"]

    assert not endpoint.is_disabled_at(T0 - HOUR)
    assert endpoint.is_disabled_at(T0)
    assert not endpoint.is_disabled_at(T0 + HOUR)


def test_nothing_is_free_by_accident() -> None:
    with pytest.raises(CatalogueError, match="free"):
        apply_changes(catalogue(), [change("price", terms=price(0, 0))])

    found = apply_changes(catalogue(), [change("price", terms=price(0, 0, free=True))])
    assert price_at(found, T0).is_free


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"input_usd_per_mtok": D(1)}, "output_usd_per_mtok"),
        (price(1, 5000), "slip of the unit"),
        (price("-1", 5), "0 or more"),
        ({**price(1, 5), "outptu_usd_per_mtok": D(1)}, "outptu_usd_per_mtok"),
    ],
)
def test_a_price_that_breaks_a_rule_of_the_tables_is_refused(
    terms: dict[str, Any], said: str
) -> None:
    with pytest.raises(CatalogueError, match=said):
        apply_changes(catalogue(), [change("price", terms=terms)])


MOMENTS = st.integers(-5, 5).map(lambda hours: T0 + hours * HOUR)


@st.composite
def changes(draw: st.DrawFn) -> list[PriceChange]:
    made: list[PriceChange] = []
    for number in range(draw(st.integers(1, 6))):
        begins = draw(MOMENTS)
        ends = draw(st.none() | st.integers(1, 6).map(lambda hours: hours * HOUR))
        span: dict[str, Any] = {
            "effective_from": begins,
            "effective_to": None if ends is None else begins + ends,
        }
        kind = draw(st.sampled_from(["price", "discount", "revoke"]))
        if kind == "price":
            span["terms"] = price(draw(st.integers(1, 9)), draw(st.integers(1, 9)))
        elif kind == "discount":
            span["factor"] = D(draw(st.integers(1, 20))) / 10
        else:
            span |= {"target": f"c{draw(st.integers(0, 6))}", "effective_to": None}
        made.append(change(kind, number, **span))
    return made


@given(changes(), MOMENTS)
def test_whatever_is_changed_one_price_holds_at_every_moment(
    made: list[PriceChange], at: datetime
) -> None:
    endpoint = apply_changes(catalogue(), made).endpoints_by_id["acme/large"]

    assert sum(version.holds_at(at) for version in endpoint.prices) == 1


@given(changes(), MOMENTS)
def test_changes_of_later_moments_do_not_touch_earlier_ones(
    made: list[PriceChange], at: datetime
) -> None:
    """Revocations aside: they end a change and so bring back what was before it."""
    later = [one for one in made if one.effective_from > at and one.kind != "revoke"]
    earlier = [one for one in made if one not in later]

    assert rates_at(apply_changes(catalogue(), made), at) == rates_at(
        apply_changes(catalogue(), earlier), at
    )


def test_a_factor_with_the_zeros_of_a_database_is_the_same_factor() -> None:
    tables = catalogue(**price(2, 8, cache_read_usd_per_mtok=D("0.125")))
    found = apply_changes(tables, [change("discount", factor=D("0.500000000000"))])

    assert str(price_at(found, T0).cache_read_usd_per_mtok) == "0.0625"
    assert str(price_at(found, T0).output_usd_per_mtok) == "4"
    assert "*0.5#c1" in price_at(found, T0).version
