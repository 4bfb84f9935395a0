"""A command that is given a name that nobody has tells which ones look like it."""

from pathlib import Path

import pytest

from gateway.cli.main import app
from gateway.cli.printing import CommandError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mistyped")
    (place / "tollway.toml").write_text("")
    (place / "data").mkdir()
    return place


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("--model azure/gpt-4o", "; the endpoint of that name serves openai/gpt-4o"),
        ("--model azure/gpt-4o-mnii", "; nearest are openai/gpt-4o-mini, "),
        ("--model groq/llama-3.1-8b-instnt", "; nearest are groq/llama-3.1-8b-instant, "),
        ("--model gpt-4o-minni", "; nearest are openai/gpt-4o-mini, "),
        ("--provider opnai", "--provider: 'opnai' is not known; nearest are openai"),
        ("--provider zzz", "; known are ai21, alibaba, "),
    ],
)
def test_correcting_costs_of_what_is_mistyped(home: Path, asked: str, told: str) -> None:
    assert told in refusal(home, "rerate", "--since", "2026-11-01", *asked.split())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("azure/gpt-4o-mnii", "; nearest are azure/gpt-4o-mini, "),
        ("gpt-4o-minni", "; nearest are azure/gpt-4o-mini, openai/gpt-4o-mini, "),
    ],
)
def test_showing_prices_of_what_is_mistyped(home: Path, asked: str, told: str) -> None:
    assert told in refusal(home, "prices", "show", asked)


def refusal(home: Path, *arguments: str) -> str:
    options = ("--config", str(home / "tollway.toml"), "--data-dir", str(home / "data"))
    with pytest.raises(CommandError) as refused:
        app([*arguments, *options], exit_on_error=False, result_action="return_value")
    return str(refused.value)
