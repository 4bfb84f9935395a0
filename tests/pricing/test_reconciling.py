"""A provider's account against ours: what is read from its exports, and what explains a drift."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.importers.provider_accounts import AccountError, read_account
from pricing.reconciling import Account, reconcile
from tests.properties import many

DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)
OPENAI_COSTS = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1763596800,
            "results": [
                {
                    "amount": {"value": 0.25, "currency": "usd"},
                    "line_item": "gpt-4o-2024-08-06, input",
                },
                {
                    "amount": {"value": 1.5, "currency": "usd"},
                    "line_item": "gpt-4o-2024-08-06, output",
                },
                {"amount": {"value": 9, "currency": "usd"}, "line_item": None},
            ],
        }
    ],
}
OPENAI_USAGE = {
    "data": [
        {
            "start_time": 1763596800,
            "results": [
                {
                    "model": "gpt-4o-2024-08-06",
                    "input_tokens": 100_000,
                    "input_cached_tokens": 50_000,
                    "output_tokens": 150_000,
                    "num_model_requests": 7,
                }
            ],
        }
    ]
}
ANTHROPIC = {
    "data": [
        {
            "starting_at": "2025-11-20T00:00:00Z",
            "results": [
                {"amount": "123.45", "currency": "USD", "model": "claude-sonnet-4-5"},
                {
                    "model": "claude-sonnet-4-5",
                    "uncached_input_tokens": 10,
                    "cache_read_input_tokens": 20,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 3,
                        "ephemeral_1h_input_tokens": 4,
                    },
                    "output_tokens": 5,
                },
            ],
        }
    ]
}


def read(provider: str, document: object) -> list[Account]:
    return read_account(provider, json.dumps(document).encode())


def account(cost: str | None = "1", *, day: date = DAY, model: str = "m", **told: Any) -> Account:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "requests": 1} | told
    return Account(day=day, model=model, cost_usd=None if cost is None else Decimal(cost), **usage)


def verdicts(theirs: list[Account], ours: list[Account]) -> list[str]:
    return [one.verdict for one in reconcile(theirs, ours)]


def test_openai_tells_costs_by_line_and_usage_by_model() -> None:
    costs, usage = read("openai", [OPENAI_COSTS]), read("openai", [OPENAI_USAGE])

    assert [(one.model, one.cost_usd) for one in costs] == [
        ("gpt-4o-2024-08-06", Decimal("0.25")),
        ("gpt-4o-2024-08-06", Decimal("1.5")),
        ("", Decimal(9)),
    ]
    fee, drift = reconcile(
        [*costs, *usage],
        [
            account(
                "1.75",
                day=date(2025, 11, 20),
                model="gpt-4o",
                prompt_tokens=100_000,
                completion_tokens=150_000,
                requests=7,
            )
        ],
    )
    assert (drift.model, drift.verdict) == ("gpt-4o", "agrees")
    assert (fee.model, fee.verdict) == ("", "no_model")


def test_anthropic_tells_cents_and_every_kind_of_input() -> None:
    (one,) = [drift.theirs for drift in reconcile(read("anthropic", ANTHROPIC), [])]

    assert one is not None
    assert (one.day, one.cost_usd) == (date(2025, 11, 20), Decimal("1.2345"))
    assert (one.prompt_tokens, one.completion_tokens) == (37, 5)


def test_a_table_has_the_same_columns() -> None:
    text = "date,model,input_tokens,output_tokens,cost_usd\n2026-11-20,m,10,5,1.00\n"

    (one,) = read_account("openai", text.encode())

    assert one == account("1.00", requests=None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,cost_usd\nm,1\n", "no column tells the day"),
        ("date,cost_usd\n2026-11-20,1\n", "no column tells the model"),
        ("date,model\n2026-11-20,m\n", "no column tells a cost or tokens"),
        ("date,model,cost_usd\nyesterday,m,1\n", "line 2: `date` is 'yesterday', not a day"),
        ("date,model,cost_usd\n2026-11-20,m,much\n", "line 2: `cost_usd` is 'much'"),
        ("date,model,input_tokens\n2026-11-20,m,-3\n", "line 2: `input_tokens` is '-3'"),
        ("date,model,cost_usd,currency\n2026-11-20,m,1,EUR\n", "the currency is 'EUR'"),
        ("{", "not valid JSON"),
        ('{"data": 3}', "`data` is not a list"),
        ('{"data": []}', "no rows"),
        (
            '{"data": [{"date": "2026-11-20", "model": "m", "cost_usd": 1}], "has_more": true}',
            "the last page says that there are more: put all of them into one list",
        ),
        (
            '{"data": [{"date": "2026-11-20", "amount": {"value": 1}}]}',
            "no row names a model: export it by `model` or `line_item`",
        ),
        ("date,model,cost_usd\n9999-12-31,m,1\n", "line 2: `date` is '9999-12-31', not a day"),
        ("date,model,cost_usd\n0001-01-01T00:00+05:00,m,1\n", "line 2: `date` is '0001-01-01T"),
        ("date,model,cost_usd\n2026-11-20,m,1e300\n", "line 2: `cost_usd` is '1e300'"),
        ("date,model,requests,cost\n2026-11-20,m,1e99999,1\n", "line 2: `requests` is '1e9"),
        (
            '{"data": [{"results": [{"model": "m", "amount": "1"}]}]}',
            "data[0].results[0]: no `date`",
        ),
    ],
)
def test_what_cannot_be_read_is_named(text: str, said: str) -> None:
    with pytest.raises(AccountError) as caught:
        read_account("openai", text.encode())

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "ours", "verdict"),
    [
        (account(), account(), "agrees"),
        (account(None), account(), "agrees"),
        (account("1.00"), account("1.0042"), "rounding"),
        (account("1"), account("1.2"), "price"),
        (account("1"), account(None), "price"),
        (account("1"), account("1.2", prompt_tokens=12), "usage"),
        (account("1", requests=2), account("0.5"), "usage"),
        (
            account("1", prompt_tokens=None, completion_tokens=None, requests=None),
            account("1.2"),
            "unexplained",
        ),
    ],
)
def test_a_drift_has_what_explains_it(theirs: Account, ours: Account, verdict: str) -> None:
    assert verdicts([theirs], [ours]) == [verdict]


def test_what_only_one_side_knows_is_missing_on_the_other() -> None:
    assert verdicts([account()], [account(model="other")]) == ["missing_here", "missing_there"]


def test_days_that_make_up_for_each_other_met_at_midnight() -> None:
    theirs = [account("3", requests=3), account("5", day=NEXT, requests=5)]
    ours = [account("4", requests=4), account("4", day=NEXT, requests=4)]

    assert verdicts(theirs, ours) == ["day_boundary", "day_boundary"]


def test_a_dated_name_is_that_of_the_model_asked_for_undated() -> None:
    found = reconcile([account(model="gpt-4o-2024-08-06")], [account(model="gpt-4o")])
    apart = reconcile([account(model="gpt-4o-mini")], [account(model="gpt-4o")])

    assert [one.verdict for one in found] == ["agrees"]
    assert [one.verdict for one in apart] == ["missing_there", "missing_here"]


def test_dated_names_of_one_model_are_added_up() -> None:
    theirs = [
        account("1", model="gpt-4o-2024-05-13"),
        account("2", model="gpt-4o-2024-08-06"),
        account("4", model="gpt-4o"),
    ]
    ours = [account("7", model="gpt-4o", prompt_tokens=30, completion_tokens=15, requests=3)]

    (found,) = reconcile(theirs, ours)

    assert (found.model, found.verdict) == ("gpt-4o", "agrees")
    assert found.theirs is not None
    assert found.theirs.cost_usd == 7


def test_an_amount_with_very_many_digits_is_compared_all_the_same() -> None:
    theirs = account("123456.78000000000000000000000000000000000001")

    assert verdicts([theirs], [account("123456.78")]) == ["rounding"]


def test_what_belongs_to_no_model_is_told_and_explained() -> None:
    fees = {"data": [{"date": "2026-11-20", "line_item": None, "amount": {"value": 9}}]}
    rows = {"data": [*OPENAI_COSTS["data"], *fees["data"]]}

    found = {(one.day, one.model): one for one in reconcile(read("openai", rows), [])}

    assert {one.verdict for one in found.values()} == {"missing_here", "no_model"}
    of_models, on_its_own = found[(date(2025, 11, 20), "")], found[(DAY, "")]
    assert of_models.theirs is not None
    assert on_its_own.theirs is not None
    assert of_models.theirs.cost_usd == on_its_own.theirs.cost_usd == 9


@settings(max_examples=many(100))
@given(provider=st.sampled_from(["openai", "anthropic"]), content=st.binary(max_size=200))
def test_no_file_breaks_the_reader(provider: str, content: bytes) -> None:
    try:
        found = read_account(provider, content)
    except AccountError:
        return
    assert found
