"""A rule is told in the words of the language, amounts as plain decimals."""

from gateway.routing.rules.diff import describe, diff
from gateway.routing.rules.rule_set import compile_rules

CAPPED = """
[[rules]]
name = "cap"
then = { tighten = { max_price = { prompt = "0.0000001", completion = "2.50" } } }
"""


def test_small_amounts_have_no_exponent() -> None:
    rules = compile_rules(CAPPED, source="rules.toml")

    told = describe(rules.rules[0])

    assert told["then.tighten.max_price.prompt_usd_per_mtok"] == "0.0000001"
    assert told["then.tighten.max_price.completion_usd_per_mtok"] == "2.50"


def test_what_is_added_is_told_with_its_amounts() -> None:
    empty = compile_rules("", source="rules.toml")

    lines = diff(empty, compile_rules(CAPPED, source="rules.toml")).lines()

    assert lines[0] == "+ cap"
    assert any("0.0000001" in line for line in lines)
