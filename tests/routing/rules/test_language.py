"""What is wrong with a text of rules is told all at once, with line, rule and remedy."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.rules.language import MAX_TEXT_BYTES
from gateway.routing.rules.problems import Problem, RulesError
from gateway.routing.rules.rule_set import compile_rules
from tests.properties import many
from tests.routing.rules.applying import rule, rules_of


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(RulesError) as caught:
        compile_rules(text, source="rules.toml")
    return caught.value.problems


def told(text: str) -> str:
    return "\n".join(map(str, problems(text)))


def test_an_empty_text_is_a_rule_set_without_rules() -> None:
    rules = rules_of("# nothing yet\n")

    assert rules.is_empty
    assert rules.version is None


def test_the_version_is_of_what_rules_say_not_of_how_they_are_written() -> None:
    dense = rules_of('[[rules]]\nname = "a"\nthen = { sort = "price" }\n')
    airy = rules_of('# why\n\n[[rules]]\nname = "a"\n[rules.then]\nsort = "price"   # how\n')
    other = rules_of('[[rules]]\nname = "a"\nthen = { sort = "latency" }\n')

    assert dense.version == airy.version
    assert dense.version != other.version


def test_the_order_of_rules_makes_another_version() -> None:
    one, two = rule('sort = "price"', name="a"), rule('sort = "latency"', name="b")

    assert rules_of(one + two).version != rules_of(two + one).version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "rules = 3\n",
            "rules.toml:1: `rules` is not an array of tables; write [[rules]]",
            id="rules is a number",
        ),
        pytest.param(
            '[[rule]]\nname = "a"\n',
            "rules.toml:1: `rule` is not known; rules stand in [[rules]] tables",
            id="unknown top",
        ),
        pytest.param(
            '[[rules]]\nname = "a"\nthen = { sort = "price"\n',
            "rules.toml:3: not valid TOML",
            id="syntax",
        ),
        pytest.param(
            '[[rules]]\nthen = { sort = "price" }\n',
            'rules.toml:1: rule `#1`: has no name; write name = "…"',
            id="no name",
        ),
        pytest.param(
            '\n[[rules]]\nname = "a"\n', "rules.toml:2: rule `a`: does nothing", id="no then"
        ),
        pytest.param(
            rule('sort = "price"', name="a") + rule('sort = "price"', name="a"),
            "rules.toml:7: rule `a`: name: the name is taken by rule 1 (line 1)",
            id="name twice",
        ),
        pytest.param(
            rule('sort = "price"', 'modles = ["x"]'),
            "rules.toml:3: rule `one`: when.modles: `modles` is not known; did you mean `models`?",
            id="unknown condition",
        ),
        pytest.param(
            rule('sortt = "price"'),
            "rules.toml:4: rule `one`: then.sortt: `sortt` is not known; did you mean `sort`?",
            id="unknown verb",
        ),
        pytest.param(
            rule("set = { max_prcie = { prompt = 1 } }"),
            "rules.toml:4: rule `one`: then.set.max_prcie: `max_prcie` is not known; "
            "did you mean `max_price`?",
            id="unknown preference",
        ),
        pytest.param(
            rule("set = { max_price = { promt = 1 } }"),
            "`provider.max_price.promt` is not a price; did you mean `prompt`?",
            id="unknown price",
        ),
        pytest.param(
            rule("set = { max_cost_usd = -1 }"), "must be a number of USD", id="negative cap"
        ),
        pytest.param(
            rule('set = { sort = "price" }'), "`sort` stands in `then` itself", id="sort in set"
        ),
        pytest.param(
            rule("set = { zdr = false }"),
            "cannot be lifted by a rule, since a caller may rely on it",
            id="lifting a protection",
        ),
        pytest.param(
            rule('set = { data_collection = "allow" }'), 'write "deny"', id="lifting another"
        ),
        pytest.param(
            rule('tighten = { order = ["a"] }'), "it belongs in `set`", id="order cannot tighten"
        ),
        pytest.param(
            rule("tighten = { only = [] }"), "would not restrict anything", id="empty only"
        ),
        pytest.param(
            rule("tighten = { allow_fallbacks = true }"),
            "would not restrict anything",
            id="loosening fallbacks",
        ),
        pytest.param(
            rule('sort = "price"', "prompt_tokens = { min = 5, max = 5 }"),
            "no prompt has 5 tokens or more and fewer than 5",
            id="empty range",
        ),
        pytest.param(
            rule('sort = "price"', 'hours = { zone = "Mars/Base" }'),
            "rules.toml:3: rule `one`: when.hours.zone: 'Mars/Base' is not a known time zone",
            id="zone",
        ),
        pytest.param(
            rule('sort = "price"', 'hours = { days = ["mon"] }'),
            "names no time zone",
            id="no zone",
        ),
        pytest.param(
            rule('sort = "price"', 'hours = { zone = "UTC", days = ["monday"] }'),
            "'monday' is not a day",
            id="day",
        ),
        pytest.param(
            rule('sort = "price"', 'hours = { zone = "UTC", from = "25:00" }'),
            "'25:00' is not a time of day",
            id="clock",
        ),
        pytest.param(
            rule('sort = "price"', 'hours = { zone = "UTC", from = "24:30" }'),
            "is not a time of day",
            id="after midnight",
        ),
        pytest.param(
            rule('sort = "price"', 'headers = { Authorization = "Bearer *" }'),
            "holds a secret",
            id="secret header",
        ),
        pytest.param(
            rule('sort = "price"', 'has = ["toools"]'),
            "'toools' is not known; did you mean `tools`?",
            id="feature",
        ),
        pytest.param(
            rule('replace_models = ["openai/*"]'), "models are named in full here", id="pattern"
        ),
        pytest.param(
            rule('split = { by = "sesion", arms = [{ name = "a", weight = 1 }] }'),
            "'sesion' is not a unit; write one of request, session, key, user",
            id="unit",
        ),
        pytest.param(rule('split = { by = "key", arms = [] }'), "has no arms", id="no arms"),
        pytest.param(
            rule('split = { by = "key", arms = [{ name = "a", weight = 0 }] }'),
            "rules.toml:4: rule `one`: then.split.arms: the weights sum to zero",
            id="weights of zero",
        ),
        pytest.param(
            rule('split = { by = "key", arms = [{ name = "a", weight = -1 }] }'),
            "then.split.arms[1].weight: -1 is not a weight",
            id="negative weight",
        ),
        pytest.param(
            rule('split = { by = "key", arms = [{ name = "a", weight = nan }] }'),
            "is not a weight",
            id="no number",
        ),
        pytest.param(rule("mirror = { share = 0.1 }"), "names no endpoint", id="mirror to nowhere"),
        pytest.param(rule('labels = { "a=b" = "c" }'), "holds no equals sign", id="label name"),
        pytest.param(
            rule('mirror = { to = "a/b", share = 1.5 }'), "1.5 is not a share", id="share"
        ),
        pytest.param(rule('deny = ""'), "is not a text of 1 to 512 characters", id="no message"),
        pytest.param(
            rule('sort = "price"', rest='stop = "yes"'),
            "'yes' is neither true nor false",
            id="stop",
        ),
        pytest.param("#" * (MAX_TEXT_BYTES + 1), "holds more than", id="too long"),
    ],
)
def test_each_mistake_is_told(text: str, expected: str) -> None:
    assert expected in told(text)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_text() -> None:
    text = """\
# A comment, and a text that looks like a rule:
[[rules]]
name = "first"
description = '''
[[rules]]
name = "not a rule"
'''
when = { modles = "x" }
then = { sort = "price" }

[[rules]]
name = "second"
[rules.when]
prompt_tokens = { min = -1 }
[[rules.when.hours]]
zone = "UTC"
[[rules.when.hours]]
zone = "Nowhere"
[rules.then.split]
by = "session"
[[rules.then.split.arms]]
name = "a"
weight = 1
[[rules.then.split.arms]]
name = "b"
wieght = 2
"""

    found = problems(text)

    assert [(one.line, one.rule, one.where) for one in found] == [
        (8, "first", "when.modles"),
        (14, "second", "when.prompt_tokens.min"),
        (18, "second", "when.hours[2].zone"),
        (24, "second", "then.split.arms[2].weight"),
        (26, "second", "then.split.arms[2].wieght"),
    ]


class TestCircles:
    def test_of_two_rules_are_refused(self) -> None:
        text = rule('replace_models = ["m/b"]', 'models = ["m/a"]', name="a") + rule(
            'replace_models = ["m/a"]', 'models = ["m/b"]', name="b"
        )

        assert (
            "rules.toml:9: rule `b`: then: replacing models leads back: m/a -> m/b -> m/a, "
            "through the rules `a`, `b`"
        ) in told(text)

    def test_through_patterns_arms_and_a_third_rule_are_refused(self) -> None:
        text = (
            rule('replace_models = ["m/b"]', 'models = ["a/*"]', name="a")
            + rule(
                'split = { by = "key", arms = [{ name = "x", weight = 1, '
                'replace_models = ["n/c"] }] }',
                'models = ["m/*"]',
                name="b",
            )
            + rule('replace_models = ["a/z"]', 'models = ["n/c"]', name="c")
        )

        assert "through the rules `a`, `b`, `c`" in told(text)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            pytest.param("prompt_tokens = { max = 9 }", "prompt_tokens = { min = 9 }", id="length"),
            pytest.param('has = ["tools"]', 'lacks = ["tools"]', id="feature"),
            pytest.param('labels = { t = "a" }', 'labels = { t = "b" }', id="label"),
            pytest.param(
                'hours = { zone = "UTC", from = "06:00", to = "22:00" }',
                'hours = { zone = "UTC", from = "22:00", to = "06:00" }',
                id="day and night",
            ),
        ],
    )
    def test_of_rules_that_never_meet_are_none(self, one: str, other: str) -> None:
        text = rule('replace_models = ["m/b"]', f'models = ["m/a"], {one}', name="a") + rule(
            'replace_models = ["m/a"]', f'models = ["m/b"], {other}', name="b"
        )

        assert len(rules_of(text).rules) == 2

    def test_end_with_stop(self) -> None:
        text = rule(
            'replace_models = ["m/b"]', 'models = ["m/a"]', name="a", rest="stop = true"
        ) + rule('replace_models = ["m/a"]', 'models = ["m/b"]', name="b")

        assert len(rules_of(text).rules) == 2

    def test_a_narrower_choice_among_what_a_rule_matches_is_none(self) -> None:
        text = rule('replace_models = ["o/mini"]', 'models = ["o/*"]', name="a") + rule(
            'replace_models = ["o/long"]',
            'models = ["o/mini"], prompt_tokens = { min = 100_000 }',
            name="b",
        )

        assert len(rules_of(text).rules) == 2


@settings(max_examples=many(200))
@given(st.text(alphabet=string.ascii_letters + "[]{}=\"',.#\n 019-_*", max_size=200))
def test_any_text_compiles_or_is_refused_with_its_problems(text: str) -> None:
    for whole in (text, f'[[rules]]\nname = "a"\n{text}'):
        try:
            compile_rules(whole, source="rules.toml")
        except RulesError as exc:
            found = exc.problems
        else:
            continue
        assert found
