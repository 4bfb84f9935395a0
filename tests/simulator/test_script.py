"""Scripts hand out behaviours, and say where they are wrong."""

from pathlib import Path

import pytest

from gateway.simulator import script as script_module
from gateway.simulator.script import (
    ENDINGS,
    FORMS,
    OPTIONS,
    USAGE_FAULTS,
    BehaviourError,
    Script,
    ScriptError,
    load_script,
    parse_behaviour,
    parse_script,
)


def endings(script: Script, count: int, *, model: str = "fast", at_s: float = 0) -> list[str]:
    behaviours = [
        script.behaviour(provider="simulated-atlas", model=model, is_stream=False, elapsed_s=at_s)
        for _ in range(count)
    ]
    return [behaviour.ending or "-" for behaviour in behaviours]


def test_a_behaviour_is_read_from_its_items() -> None:
    behaviour = parse_behaviour("reset_mid@7,crlf!usage_zero,tokens=50,text=a%2Cb%21")

    assert (behaviour.ending, behaviour.at) == ("reset_mid", 7)
    assert behaviour.forms == {"crlf"}
    assert behaviour.usage_fault == "usage_zero"
    assert (behaviour.tokens, behaviour.text) == (50, "a,b!")


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ("hng", "unknown fault `hng`; did you mean `hang`"),
        ("700", "unknown fault `700`"),
        ("tokns=3", "unknown option `tokns`; did you mean `tokens`"),
        ("tokens=many", "`tokens=many`: expected an integer from 0"),
        ("first_token_ms=-1", "expected a number, 0 or more"),
        ("tokens_per_s=nan", "expected a number, 0 or more"),
        ("shape=round", "expected one of string"),
        ("hang@3", "takes no position"),
        ("hang_mid@x", "write `hang_mid@7`"),
        ("hang,reset", "`hang` and `reset` both end the answer"),
    ],
)
def test_a_wrong_item_is_named_with_its_remedy(items: str, complaint: str) -> None:
    with pytest.raises(BehaviourError) as caught:
        parse_behaviour(items)

    assert complaint in str(caught.value)


def test_every_fault_and_option_stands_in_the_table() -> None:
    table = script_module.__doc__ or ""

    for name in (*ENDINGS, *FORMS, *USAGE_FAULTS, *OPTIONS):
        assert f"`{name}`" in table or f"`{name}@k`" in table, name


def test_the_first_rule_that_matches_decides() -> None:
    script = parse_script(
        """
        [[rule]]
        model = "smart*"
        do = "500"

        [[rule]]
        provider = "simulated-*"
        do = "hang"

        [[rule]]
        do = "reset"
        """,
        "faults.toml",
    )

    assert endings(script, 1, model="smart-2") == ["500"]
    assert endings(script, 1) == ["hang"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("nth = 2", ["-", "500", "-", "-", "-", "-"]),
        ("nth = [1, 3]", ["500", "-", "500", "-", "-", "-"]),
        ("first = 2", ["500", "500", "-", "-", "-", "-"]),
        ("every = 3", ["-", "-", "500", "-", "-", "500"]),
    ],
)
def test_rules_count_their_requests(condition: str, expected: list[str]) -> None:
    script = parse_script(f'[[rule]]\n{condition}\ndo = "500"\n', "faults.toml")

    assert endings(script, 6) == expected


def test_probability_is_seeded() -> None:
    text = 'seed = 7\n[[rule]]\nprobability = 0.5\ndo = "500"\n'

    drawn = endings(parse_script(text, "a"), 200)

    assert drawn == endings(parse_script(text, "b"), 200)
    assert 70 < drawn.count("500") < 130


def test_rules_hold_in_their_window() -> None:
    script = parse_script('[[rule]]\nfrom_s = 1\nuntil_s = 2\ndo = "503"\n', "faults.toml")

    assert [endings(script, 1, at_s=at)[0] for at in (0.9, 1.0, 1.9, 2.0)] == [
        "-",
        "503",
        "503",
        "-",
    ]


@pytest.mark.parametrize(
    ("text", "where", "complaint"),
    [
        pytest.param('[[rule]]\ndo = "hang\n', ":2", "not valid TOML", id="toml"),
        pytest.param('[[rules]]\ndo = "hang"\n', ":1", "did you mean `rule`", id="top-key"),
        pytest.param(
            '[[rule]]\ndo = "hang"\n\n[[rule]]\nmodel = "x"\ndo = "hng"\n',
            ":6",
            "rule 2, `do`: unknown fault `hng`",
            id="fault",
        ),
        pytest.param('[[rule]]\ndo = "hang"\nmodl = "x"\n', ":3", "mean `model`", id="rule-key"),
        pytest.param('[[rule]]\nnth = "x"\ndo = "hang"\n', ":2", "rule 1, `nth`", id="type"),
        pytest.param('\n[[rule]]\nmodel = "x"\n', ":2", "rule 1, `do`", id="no-do"),
        pytest.param('[[rule]]\nevery = 0\ndo = "500"\n', ":2", "expected 1 or more", id="every"),
        pytest.param(
            '[[rule]]\nprobability = 2.0\ndo = "500"\n', ":2", "expected 0 to 1", id="chance"
        ),
        pytest.param('seed = "x"\n', ":1", "`seed` must be an integer", id="seed"),
        pytest.param('[rule]\ndo = "500"\n', ":1", "write rules as `[[rule]]`", id="one-table"),
        pytest.param('rule = ["500"]\n', ":1", "rule 1", id="no-table"),
    ],
)
def test_a_wrong_script_names_file_line_and_key(
    tmp_path: Path, text: str, where: str, complaint: str
) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)

    with pytest.raises(ScriptError) as caught:
        load_script(path)

    assert str(caught.value).startswith(f"{path}{where}:")
    assert complaint in str(caught.value)


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"none\.toml: cannot be read: No such file"):
        load_script(tmp_path / "none.toml")
