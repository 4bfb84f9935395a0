"""``tollway prices show`` tells what holds here, and where it comes from."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import app
from gateway.cli.printing import CommandError
from tests.installation import provider_toml
from tests.storage.samples import migrated


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]) -> Path:
    place = tmp_path_factory.mktemp("showing")
    (place / "d").mkdir()
    (place / "dsn").write_text(migrated(postgres_dsn))
    toml = provider_toml("alpha", "http://127.0.0.1:9/v1", {"test/a": "a"})
    odd = {"id": '"odd"', "input_usd_per_mtok": "3", "output_usd_per_mtok": "2"}
    toml += "\n".join(["[[providers.alpha.endpoints]]", *(f"{k} = {v}" for k, v in odd.items())])
    (place / "tollway.toml").write_text(f'database_url = "file:{place}/dsn"\n{toml}')
    return place


def run(home: Path, *arguments: str) -> str:
    options = ("--config", str(home / "tollway.toml"), "--data-dir", str(home / "d"))
    with redirect_stdout(StringIO()) as told:
        app(["prices", *arguments, *options], exit_on_error=False, result_action="return_value")
    return told.getvalue()


def shown(home: Path, *arguments: str) -> dict[str, Any]:
    told = run(home, "show", "test/a", *arguments, "--json")
    (row,) = json.loads(told, parse_float=Decimal)
    return row


def test_what_holds_is_shown_with_the_changes_that_made_it(home: Path) -> None:
    assert (shown(home)["price"]["input_usd_per_mtok"], shown(home)["set_by"]) == (1, "tables")

    run(home, "set", "alpha/a", "--input", "3", "--reason", "dearer")
    run(home, "discount", "alpha", "0.5", "--reason", "loyal")
    run(home, "disable", "alpha/a", "--from", "2031-01-01", "--reason", "it ends")

    now, then = shown(home), shown(home, "--at", "2031-01-01")
    assert now["price"]["input_usd_per_mtok"] == Decimal("1.5")
    assert now["set_by"] == "change 1, change 2 (x 0.5)"
    assert (now["is_disabled"], then["is_disabled"]) == (False, True)
    assert shown(home, "--tables")["price"]["input_usd_per_mtok"] == 1
    assert "change 1" in run(home, "show", "test/a")


def test_simulated_providers_are_shown_where_they_do_not_serve_too(home: Path) -> None:
    found = json.loads(run(home, "show", "simulated/fast", "--json"), parse_float=Decimal)

    serving = json.loads(run(home, "show", "simulated/fast", "--enabled", "--json"))
    amounts = {row["endpoint"]: row["price"]["input_usd_per_mtok"] for row in found}
    assert amounts["simulated-atlas/fast"] == Decimal("0.1")
    assert not any(row["is_enabled"] for row in found)
    assert serving == []


def test_a_prompt_of_less_than_nothing_is_refused(home: Path) -> None:
    with pytest.raises(CommandError, match="a prompt has 0 tokens or more"):
        run(home, "show", "test/a", "--prompt-tokens=-1")


def test_a_history_of_nothing_says_so(home: Path) -> None:
    assert "Nothing was decided here about alpha/zz" in run(home, "history", "alpha/zz")


def test_a_warning_about_the_operators_settings_has_their_line(home: Path) -> None:
    found = json.loads(run(home, "check", "--json"))

    of_odd = [one for one in found if "alpha/odd" in one["place"]]
    (odd,) = (one for one in of_odd if one["rule"] == "output-below-input")
    lines = (home / "tollway.toml").read_text().splitlines()
    at = lines.index("output_usd_per_mtok = 2", lines.index('id = "odd"')) + 1
    assert odd["place"] == f"tollway.toml:{at} alpha/odd output_usd_per_mtok = 2"
    assert odd["remedy"] == "look whether the two were exchanged"
