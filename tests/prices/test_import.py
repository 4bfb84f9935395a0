"""Price lists on the command line: compared, proposed, and in force only when somebody says so."""

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

LIST = {
    "alpha": {
        "models": {
            "a": {"cost": {"input": 1.2, "output": 2}},
            "b": {"cost": {"input": 9, "output": 2}},
            "c": {"cost": {"input": 1, "output": 2}},
        }
    }
}


class Desk:
    """Commands on an installation whose database is there already, without a process for each."""

    def __init__(self, home: Path, toml: str, dsn: str) -> None:
        self.home = home
        # What the shipped tables say is kept there, and not read anew by each command.
        (home / "d").mkdir()
        (home / "dsn").write_text(dsn)
        (home / "tollway.toml").write_text(f'database_url = "file:{home}/dsn"\n{toml}')

    def run(self, *arguments: str) -> str:
        options = ("--config", str(self.home / "tollway.toml"), "--data-dir", str(self.home / "d"))
        with redirect_stdout(StringIO()) as told:
            app(
                ["prices", *arguments, *options],
                exit_on_error=False,
                result_action="return_value",
            )
        return told.getvalue()

    def prices(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"), parse_float=Decimal)

    def refused(self, *arguments: str) -> str:
        with pytest.raises(CommandError) as caught:
            self.run(*arguments)
        return str(caught.value)

    def import_list(self, document: object, *arguments: str) -> Any:
        path = self.home / "list.json"
        path.write_text(json.dumps(document))
        return self.prices("import", "models-dev", "--file", str(path), *arguments)

    def input_usd(self, model: str) -> Decimal:
        (shown,) = self.prices("history", f"alpha/{model}")[:1]
        return Decimal(shown["terms"]["input_usd_per_mtok"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]) -> Desk:
    models = {f"test/{name}": name for name in "abc"}
    toml = provider_toml("alpha", "http://127.0.0.1:9/v1", models)
    return Desk(tmp_path_factory.mktemp("import"), toml, migrated(postgres_dsn))


def test_a_list_is_proposed_and_holds_once_somebody_says_so(desk: Desk) -> None:
    told = desk.import_list(LIST)
    assert (told["stored"]["added"], told["accepted"]) == (2, [])
    assert desk.prices("history") == []

    again = desk.import_list(LIST)
    assert (again["stored"]["added"], again["stored"]["known"]) == (0, 2)

    waiting = {one["target"]: one for one in desk.prices("proposals")}
    assert waiting["alpha/a"]["gates"] == []
    assert "rises to 9 times" in waiting["alpha/b"]["gates"][0]

    (change,) = desk.prices("accept", "--all")
    assert (change["target"], change["terms"]["input_usd_per_mtok"]) == ("alpha/a", "1.2")
    assert "models-dev sha256:" in change["reason"]
    assert "1 -> 1.2" in change["reason"]
    assert [one["target"] for one in desk.prices("proposals")] == ["alpha/b"]

    number = str(waiting["alpha/b"]["id"])
    desk.prices("refuse", number, "--reason", "a slip of theirs")
    assert desk.import_list(LIST)["stored"]["refused_before"] == 1
    assert "was refused already" in desk.refused("accept", number)

    different = {"alpha": {"models": {"b": {"cost": {"input": 8, "output": 2}}}}}
    accepted = desk.import_list(different, "--accept", "alpha/b")["accepted"]
    assert [one["target"] for one in accepted] == ["alpha/b"]
    assert desk.input_usd("b") == 8

    differing = desk.prices("diff")
    assert {(one["endpoint"], one["listed"], one["here"]) for one in differing} == {
        ("alpha/a", "1", "1.2"),
        ("alpha/b", "1", "8"),
    }


def test_a_proposal_is_stale_once_the_price_changed_otherwise(desk: Desk) -> None:
    document = {"alpha": {"models": {"c": {"cost": {"input": 1.1, "output": 2}}}}}
    desk.import_list(document)
    (proposal,) = desk.prices("proposals")
    desk.prices("set", "alpha/c", "--input", "1.3", "--reason", "a contract")

    said = desk.refused("accept", str(proposal["id"]))

    assert "has changed since" in said
    # What is believed now differs from the list in another way.
    assert desk.import_list(document)["stored"] == {
        "added": 1,
        "known": 0,
        "refused_before": 0,
        "superseded": 1,
    }


def test_a_list_is_compared_with_what_is_listed_and_not_with_what_is_left_of_it(
    desk: Desk,
) -> None:
    (off,) = [desk.prices("discount", "alpha/b", "0.5", "--reason", "loyal")["change"]]
    listed = {"cost": {"input": 8, "output": 2}}

    assert desk.import_list({"alpha": {"models": {"b": listed}}})["found"]["proposals"] == []

    desk.prices("revoke", off["id"], "--reason", "over")


def test_an_offer_that_is_new_becomes_an_endpoint_once_somebody_names_it(desk: Desk) -> None:
    model = {
        "name": "New",
        "limit": {"context": 1000, "output": 100},
        "modalities": {"input": ["text"], "output": ["text"]},
        "cost": {"input": 0.4, "output": 1.2},
    }
    document = {"alpha": {"models": {"new": model}}}
    assert desk.import_list(document)["new"] == 1
    assert desk.import_list(document, "--new")["stored"]["added"] == 1

    assert desk.prices("accept", "--all") == []
    (waiting,) = (one for one in desk.prices("proposals") if one["target"] == "alpha/new")
    assert "is new here" in waiting["gates"][0]
    (change,) = desk.prices("accept", str(waiting["id"]), "--comment", "tried it")

    assert (change["kind"], change["endpoint"]["input_usd_per_mtok"]) == ("endpoint", "0.4")
    assert change["reason"].startswith("tried it (models-dev sha256:")
    assert ("alpha/new", "own") in {(d["endpoint"], d["here"]) for d in desk.prices("diff")}
    assert desk.import_list(document, "--new")["new"] == []


def test_what_cannot_be_imported_is_told_with_a_remedy(desk: Desk, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[1, 2")

    assert "known are genai-prices, models-dev, litellm" in desk.refused("import", "openrouter")
    assert "not valid JSON" in desk.refused("import", "litellm", "--file", str(wrong))
    wrong.write_text("{}")
    assert "is this the right file" in desk.refused("import", "litellm", "--file", str(wrong))
    assert "cannot be read" in desk.refused("import", "litellm", "--file", "/nowhere.json")


def test_the_check_tells_what_looks_wrong_and_fails_on_what_is(desk: Desk) -> None:
    desk.prices("set", "alpha/c", "--input", "3", "--output", "2", "--reason", "as they say")

    found = desk.prices("check")

    rules = {(one["severity"], one["rule"], one["place"].split()[0]) for one in found}
    assert ("warning", "output-below-input", "alpha/c") in rules
    assert not [one for one in found if one["severity"] == "error"]
