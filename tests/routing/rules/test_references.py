"""What rules name and nobody knows, and what changes between two rule sets."""

from gateway.routing.rules.diff import describe, diff
from gateway.routing.rules.references import check_references
from pricing.catalogue import Catalogue
from tests.routing.factories import make_catalogue_of, make_endpoint
from tests.routing.rules.applying import rule, rules_of

HERE = make_catalogue_of(
    make_endpoint("openai", "openai/gpt-4o"), make_endpoint("azure", "openai/gpt-4o")
)
ELSEWHERE = make_catalogue_of(make_endpoint("mistral", "mistral/large"))


def told(
    then: str,
    when: str = "",
    *,
    aliases: dict[str, str] | None = None,
    shipped: Catalogue | None = None,
) -> list[tuple[str, str]]:
    text = rule(then, when)
    return [
        (problem.severity, problem.message)
        for problem in check_references(
            rules_of(text), HERE, text=text, aliases=aliases, shipped=shipped
        )
    ]


def test_what_is_known_is_not_told() -> None:
    assert not told(
        'set = { order = ["azure", "openai/gpt-4o"] }, tighten = { only = ["openai", "azure"] }, '
        'replace_models = ["openai/gpt-4o", "gpt-4o", "gpt-4o:floor", "ours"], '
        'mirror = { to = "azure/gpt-4o" }',
        'models = ["openai/*"], providers = ["az*"]',
        aliases={"ours": "openai/gpt-4o"},
    )


def test_unknown_names_in_conditions_are_warnings_with_the_nearest() -> None:
    found = told('sort = "price"', 'models = ["openai/gpt-4p"], providers = ["azzure"]')

    assert found == [
        ("warning", "nobody serves 'openai/gpt-4p' here; nearest are openai/gpt-4o"),
        ("warning", "no provider is called 'azzure'; did you mean `azure`?"),
    ]


def test_a_pin_that_can_match_nothing_is_an_error() -> None:
    assert told('tighten = { only = ["azzure"] }') == [
        ("error", "no provider or endpoint is called 'azzure'; did you mean `azure`?")
    ]
    assert [severity for severity, _ in told('replace_models = ["acme/x"]')] == ["error"]
    assert [severity for severity, _ in told('mirror = { to = "acme/x" }')] == ["error"]


def test_an_unknown_name_beside_known_ones_is_a_warning() -> None:
    assert [severity for severity, _ in told('tighten = { only = ["azure", "acme"] }')] == [
        "warning"
    ]
    assert [severity for severity, _ in told('add_models = ["acme/x"]')] == ["warning"]


def test_what_is_merely_not_enabled_here_is_a_warning() -> None:
    assert told('tighten = { only = ["mistral"] }', shipped=ELSEWHERE) == [
        ("warning", "'mistral' is not enabled here")
    ]
    assert told('replace_models = ["mistral/large"]', shipped=ELSEWHERE) == [
        ("warning", "no provider of 'mistral/large' is enabled here")
    ]


def test_a_difference_is_told_rule_by_rule() -> None:
    old = rules_of(
        rule('sort = "price"', name="kept")
        + rule('deny = "No."', name="gone")
        + rule("tighten = { max_price = { prompt = 1 } }", name="dearer")
        + rule('sort = "price"', name="last")
    )
    new = rules_of(
        rule('sort = "price"', name="last")
        + rule('sort = "price"', name="kept")
        + rule("tighten = { max_price = { prompt = 2 } }", 'labels = { a = "b" }', name="dearer")
        + rule('labels = { x = "y" }', name="new")
    )

    assert diff(old, new).lines() == [
        "- gone",
        '    then.deny was "No."',
        "> last",
        "~ dearer",
        '    when.labels.a = ["b"]',
        '    then.tighten.max_price.prompt_usd_per_mtok: "1" -> "2"',
        "+ new",
        '    then.labels.x = "y"',
    ]


def test_nothing_differs_from_itself() -> None:
    rules = rules_of(rule('sort = "price"'))

    assert diff(rules, rules).changes == ()


def test_a_rule_is_described_in_the_words_that_the_language_takes() -> None:
    (one,) = rules_of(rule('sort = "price"')).rules

    assert "then.sort" in {member.removesuffix(".by") for member in describe(one)}
