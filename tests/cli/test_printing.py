"""What commands print: amounts with every digit, tables that fit the terminal."""

import json
from contextlib import redirect_stdout
from decimal import Decimal
from io import StringIO

import pytest

from gateway.cli.printing import in_usd, print_json, print_table

ENDPOINT = "amazon-bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0"


class Terminal(StringIO):
    """Of eighty columns, and without colours."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0E-9", "0"), ("0E-12", "0"), ("1E-9", "0.000000001"), ("2.5E+2", "250"), ("1.50", "1.50")],
)
def test_amounts_are_plain_decimals_for_programs(
    capsys: pytest.CaptureFixture[str], amount: str, text: str
) -> None:
    print_json({"budgets": [{"spent_usd": Decimal(amount), "name": "1E5"}]})

    told = capsys.readouterr().out
    assert told == f'{{"budgets":[{{"spent_usd":{text},"name":"1E5"}}]}}\n'
    assert json.loads(told, parse_float=Decimal)["budgets"][0]["spent_usd"] == Decimal(amount)


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0.000061110000", "0.00006111 USD"), ("0E-12", "0 USD"), ("250.000000000", "250 USD")],
)
def test_amounts_in_sentences_have_their_digits_and_no_more(amount: str, text: str) -> None:
    assert in_usd(Decimal(amount)) == text


def test_a_difference_shows_its_sign() -> None:
    assert in_usd(Decimal("0.10"), signed=True) == "+0.1 USD"
    assert in_usd(Decimal("-0.10"), signed=True) == "-0.1 USD"


def test_names_are_broken_between_their_parts(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        print_table(["endpoint", "why"], [(ENDPOINT, "it says so " * 12), ("-1.5", None)])

    lines = terminal.getvalue().splitlines()
    named = [line.split()[0] for line in lines[1:] if line[:1].strip()]
    assert max(map(len, lines)) <= 80
    assert "".join(named) == f"{ENDPOINT}-1.5"
    assert len(named) > 2
    assert all(part[-1] in "/-" for part in named[:-2])


def test_columns_that_matter_less_give_way_on_a_narrow_terminal(terminal: Terminal) -> None:
    columns = ["endpoint", "context", "input", "set by", "depends on", "other"]
    row = (ENDPOINT, 200_000, Decimal("3.30"), "change 12 (x 0.5)", "prompts from 200,001", None)

    with redirect_stdout(terminal):
        print_table(columns, [row], less=("context", "set by", "depends on", "other"))

    header, line, told = terminal.getvalue().splitlines()
    assert header.split() == ["endpoint", "context", "input", "other"]
    assert line.split() == [ENDPOINT, "200000", "3.3", "-"]
    assert told.startswith("Too narrow for set by, depends on: ")


def test_a_table_that_fits_has_all_its_columns(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        print_table(["endpoint", "other"], [("openai/gpt-4o", None)], less=("other",))

    assert terminal.getvalue().split() == ["endpoint", "other", "openai/gpt-4o", "-"]


def test_what_is_piped_has_all_columns_however_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["endpoint", "what"], [(ENDPOINT, "x" * 90)], less=("what",))

    # A row is a line, so that other programs find names whole.
    header, row = capsys.readouterr().out.splitlines()
    assert (header.split(), row.split()) == (["endpoint", "what"], [ENDPOINT, "x" * 90])
