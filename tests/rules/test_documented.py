"""What the documentation says of rules compiles, and names everything there is."""

import re
from pathlib import Path
from typing import get_args

import pytest

from gateway.routing.rules.language import APIS, FEATURES, UNITS
from gateway.routing.rules.references import check_references
from gateway.routing.rules.rule_set import compile_rules
from gateway.routing.rules.values import Change, Feature, Rule, Then, When
from gateway.routing.rules.wishes import FIELDS_OF_MEMBER, TIGHTENERS
from pricing.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/rules.md"
EXAMPLE = ROOT / "deploy/rules.example.toml"
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    "text", [*EXAMPLES, EXAMPLE.read_text("utf-8")], ids=lambda text: text.splitlines()[1]
)
def test_examples_compile_and_name_what_is_in_the_catalogue(text: str) -> None:
    rules = compile_rules(text, source="docs/rules.md")

    assert not rules.is_empty
    assert [str(one) for one in check_references(rules, load_catalogue(), text=text)] == []


def test_all_examples_work_together() -> None:
    names: dict[str, str] = {}
    for text in EXAMPLES:
        for one in text.split("[[rules]]")[1:]:
            names[one.split('"')[1]] = f"[[rules]]{one}"

    assert len(compile_rules("\n".join(names.values()), source="docs").rules) == len(names)


@pytest.mark.parametrize(
    "word",
    [
        *When.__struct_fields__,
        *Then.__struct_fields__,
        *Change.__struct_fields__,
        *Rule.__struct_fields__,
        *get_args(Feature),
        *FEATURES,
        *UNITS,
        *APIS,
        "sort",
    ],
)
def test_every_word_of_the_language_is_described(word: str) -> None:
    assert re.search(rf"`[^`\n]*\b{re.escape(word)}\b", DOCUMENT.read_text("utf-8"))


def test_every_preference_is_described_where_it_belongs() -> None:
    text = DOCUMENT.read_text("utf-8")
    for member, fields in FIELDS_OF_MEMBER.items():
        assert f"`{member}" in text
        is_restricting = all(field in TIGHTENERS for field in fields)
        assert is_restricting == bool(re.search(rf"^\|[^|]*`{member}\b", text, re.MULTILINE))
