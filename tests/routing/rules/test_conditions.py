"""Each condition of a rule: when it holds and when it does not."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from gateway.routing.rules.apply import Meaning, apply_rules
from tests.routing.factories import make_caller, make_request
from tests.routing.rules.applying import AT, SALT, applies, rule, ruled, rules_of

GPT = "openai/gpt-4o"


def test_a_rule_without_conditions_applies_to_everything() -> None:
    assert applies("")


@pytest.mark.parametrize(
    ("when", "models", "expected"),
    [
        pytest.param('models = ["openai/*"]', (GPT,), True, id="pattern"),
        pytest.param('models = "openai/gpt-4o"', (GPT,), True, id="text alone"),
        pytest.param('models = ["openai/*"]', ("acme/large",), False, id="other"),
        pytest.param('models = ["x/*", "*-4o"]', (GPT,), True, id="any of the patterns"),
        pytest.param('models = ["openai/*"]', ("acme/large", GPT), True, id="any of the models"),
    ],
)
def test_models_are_matched_by_pattern(when: str, models: tuple[str, ...], expected: bool) -> None:
    assert applies(when, *models) is expected


def test_models_are_matched_by_their_canonical_name_however_they_were_typed() -> None:
    meanings = {"gpt-4o": Meaning(model=GPT)}

    assert applies('models = ["openai/*"]', "gpt-4o", meanings=meanings)
    assert applies('models = ["gpt-4o"]', "gpt-4o", meanings=meanings)


def test_the_default_model_of_the_key_is_matched_when_the_request_names_none() -> None:
    nameless = msgspec.structs.replace(make_request(), models=())
    found = apply_rules(
        rules_of(rule('labels = { a = "b" }', 'models = ["openai/*"]')),
        nameless,
        make_caller(default_model=GPT),
        at=AT,
        headers={},
        secret_salt=SALT,
        seed=1,
    )
    assert found.rules == ("one",)


def test_providers_are_those_that_the_request_names() -> None:
    pinned = {"azure/gpt": Meaning(model=GPT, provider="azure")}

    assert applies('providers = ["azure"]', "azure/gpt", meanings=pinned)
    assert applies('providers = ["az*"]', GPT, only=("azure", "openai"))
    assert applies('providers = ["Azure"]', GPT, order=("azure",))
    assert not applies('providers = ["azure"]', GPT)
    assert not applies('providers = ["azure"]', GPT, ignore=("azure",))


@pytest.mark.parametrize("member", ["labels", "metadata", "headers"])
@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        pytest.param('env = "prod"', {"env": "prod"}, True, id="literal"),
        pytest.param('env = "prod*"', {"env": "production"}, True, id="pattern"),
        pytest.param('env = ["dev", "prod"]', {"env": "prod"}, True, id="any of several"),
        pytest.param('env = "prod"', {"env": "dev"}, False, id="other value"),
        pytest.param('env = "*"', {}, False, id="missing"),
        pytest.param('env = "*"', {"env": ""}, True, id="there, whatever it says"),
        pytest.param('env = "prod", team = "eu"', {"env": "prod"}, False, id="all names"),
        pytest.param(
            'env = "prod", team = "eu"', {"env": "prod", "team": "eu"}, True, id="both names"
        ),
    ],
)
def test_texts_by_name(member: str, condition: str, values: dict[str, str], expected: bool) -> None:
    assert applies(f"{member} = {{ {condition} }}", **{member: values}) is expected


def test_names_of_headers_know_no_case() -> None:
    assert applies('headers = { X-Tier = "gold" }', headers={"x-tier": "gold"})


@pytest.mark.parametrize(
    ("limits", "tokens", "expected"),
    [
        pytest.param("min = 100", 100, True, id="min is inclusive"),
        pytest.param("min = 100", 99, False, id="below min"),
        pytest.param("max = 100", 99, True, id="below max"),
        pytest.param("max = 100", 100, False, id="max is exclusive"),
        pytest.param("min = 10, max = 20", 15, True, id="between"),
        pytest.param("max = 100", 0, True, id="nothing"),
    ],
)
def test_prompt_tokens(limits: str, tokens: int, expected: bool) -> None:
    when = f"prompt_tokens = {{ {limits} }}"

    assert applies(when, prompt_tokens_estimate=tokens) is expected


@pytest.mark.parametrize(
    ("when", "request_", "expected"),
    [
        pytest.param('has = ["tools"]', {"needs": frozenset({"tools"})}, True, id="tools"),
        pytest.param('has = ["tools"]', {"needs": frozenset({"custom_tools"})}, True, id="custom"),
        pytest.param('has = ["images"]', {"needs": frozenset({"vision"})}, True, id="images"),
        pytest.param(
            'has = ["schema"]', {"needs": frozenset({"structured_outputs"})}, True, id="schema"
        ),
        pytest.param('has = ["stream"]', {"stream": True}, True, id="stream"),
        pytest.param('has = ["tools"]', {}, False, id="no tools"),
        pytest.param(
            'has = ["tools", "images"]', {"needs": frozenset({"tools"})}, False, id="all of them"
        ),
        pytest.param('lacks = ["tools"]', {}, True, id="lacks"),
        pytest.param('lacks = ["tools"]', {"needs": frozenset({"tools"})}, False, id="has it"),
        pytest.param(
            'has = ["tools"], lacks = ["stream"]',
            {"needs": frozenset({"tools"}), "stream": True},
            False,
            id="has and lacks",
        ),
    ],
)
def test_features(when: str, request_: dict[str, Any], expected: bool) -> None:
    assert applies(when, **request_) is expected


def test_apis() -> None:
    assert applies('apis = ["embeddings"]', api="embeddings")
    assert not applies('apis = ["embeddings"]', api="chat")


def test_all_conditions_of_a_rule_must_hold() -> None:
    when = 'models = ["openai/*"], labels = { team = "eu" }, has = ["stream"]'

    assert applies(when, GPT, labels={"team": "eu"}, stream=True)
    assert not applies(when, GPT, labels={"team": "eu"})
    assert not applies(when, GPT, labels={"team": "us"}, stream=True)


BERLIN = 'zone = "Europe/Berlin"'


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        pytest.param(
            f'{BERLIN}, days = ["mon-fri"], from = "08:00", to = "18:00"',
            datetime(2026, 11, 20, 7, 0, tzinfo=UTC),
            True,
            id="a Friday at 08:00 in winter",
        ),
        pytest.param(
            f'{BERLIN}, days = ["mon-fri"], from = "08:00", to = "18:00"',
            datetime(2026, 11, 20, 6, 59, 59, tzinfo=UTC),
            False,
            id="a second before",
        ),
        pytest.param(
            f'{BERLIN}, days = ["mon-fri"], from = "08:00", to = "18:00"',
            datetime(2026, 11, 20, 17, 0, tzinfo=UTC),
            False,
            id="the end is exclusive",
        ),
        pytest.param(
            f'{BERLIN}, days = ["mon-fri"], from = "08:00", to = "18:00"',
            datetime(2026, 7, 3, 6, 0, tzinfo=UTC),
            True,
            id="summer time",
        ),
        pytest.param(
            f'{BERLIN}, days = ["mon-fri"]',
            datetime(2026, 11, 20, 23, 30, tzinfo=UTC),
            False,
            id="already Saturday there",
        ),
        pytest.param(
            f'{BERLIN}, days = ["fri"], from = "22:00", to = "06:00"',
            datetime(2026, 11, 21, 3, 0, tzinfo=UTC),
            True,
            id="a night belongs to the day it begins on",
        ),
        pytest.param(
            f'{BERLIN}, days = ["fri"], from = "22:00", to = "06:00"',
            datetime(2026, 11, 20, 3, 0, tzinfo=UTC),
            False,
            id="the night before",
        ),
        pytest.param(
            f'{BERLIN}, days = ["sun"], from = "22:00", to = "06:00"',
            datetime(2026, 11, 23, 3, 0, tzinfo=UTC),
            True,
            id="over the end of the week",
        ),
        pytest.param(
            f'{BERLIN}, days = ["sat-mon"], to = "24:00"',
            datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
            True,
            id="a range over the end of the week",
        ),
        pytest.param(
            'zone = "UTC", from = "10:00"',
            datetime(2026, 11, 22, 23, 59, tzinfo=UTC),
            True,
            id="until midnight when no end is given",
        ),
        pytest.param(
            'zone = "Asia/Kolkata", from = "09:30", to = "09:31"',
            datetime(2026, 11, 22, 4, 0, 30, tzinfo=UTC),
            True,
            id="a zone of half an hour",
        ),
        # On 2026-03-29 Berlin's clocks go from 02:00 to 03:00.
        pytest.param(
            f'{BERLIN}, from = "02:00", to = "03:00"',
            datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
            False,
            id="an hour that does not exist",
        ),
        pytest.param(
            f'{BERLIN}, from = "03:00", to = "04:00"',
            datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
            True,
            id="the hour behind the gap",
        ),
        # On 2026-10-25 they go from 03:00 back to 02:00.
        pytest.param(
            f'{BERLIN}, from = "02:00", to = "03:00"',
            datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
            True,
            id="an hour that comes twice, first",
        ),
        pytest.param(
            f'{BERLIN}, from = "02:00", to = "03:00"',
            datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
            True,
            id="an hour that comes twice, again",
        ),
    ],
)
def test_hours(hours: str, at: datetime, expected: bool) -> None:
    assert applies(f"hours = {{ {hours} }}", at=at) is expected


def test_of_several_hours_any_suffices() -> None:
    when = 'hours = [{ zone = "UTC", days = ["mon"] }, { zone = "Europe/Berlin", days = ["sun"] }]'

    assert applies(when, at=datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert applies(when, at=datetime(2026, 11, 23, 12, tzinfo=UTC))
    assert not applies(when, at=datetime(2026, 11, 24, 12, tzinfo=UTC))


def test_many_rules_are_matched_as_each_would_be_alone() -> None:
    whens = [
        'models = ["openai/*"]',
        'models = ["acme/*"], has = ["tools"]',
        'labels = { team = "eu" }',
        'labels = { team = "u*" }, headers = { x-tier = "gold" }',
        "prompt_tokens = { min = 400, max = 600 }",
        "prompt_tokens = { min = 501 }",
        'lacks = ["stream"]',
        'hours = { zone = "UTC", days = ["sat"] }',
        'metadata = { env = "prod*" }',
        "",
    ]
    text = "".join(
        rule(f'labels = {{ l{number} = "x" }}', when, name=f"r{number}")
        for number, when in enumerate(whens)
    )
    requests: tuple[dict[str, Any], ...] = (
        {"labels": {"team": "eu"}, "metadata": {"env": "production"}},
        {"labels": {"team": "us"}, "headers": {"x-tier": "gold"}, "stream": True},
        {"needs": frozenset({"tools"}), "prompt_tokens_estimate": 700},
    )
    for asked in requests:
        expected = tuple(
            f"r{number}" for number, when in enumerate(whens) if applies(when, **asked)
        )
        assert ruled(text, **asked).rules == expected
