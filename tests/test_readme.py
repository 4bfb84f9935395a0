"""What the documents tell is there: commands, targets, files, keys."""

import json
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cyclopts import App

from gateway.chat.routing_report import AnswerMetadata, RoutingStep
from gateway.chat.usage_report import render_usage
from gateway.cli.main import app
from gateway.providers.registry import SUPPORTED_PROTOCOLS
from gateway.routing.rules.rule_set import compile_rules
from gateway.settings.enabled import find_enabled
from gateway.settings.load import load_settings
from gateway.settings.values import Flags
from pricing.catalogue import endpoint_from_config, load_catalogue
from pricing.cost import Cost
from pricing.usage import Usage

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "deploy/README.md",
    "docs/routing.md",
)
# Made by running, or at a place of the reader's.
NOT_IN_THE_TREE = re.compile(
    r"^(\.venv|\.tollway|bench\.json|tollway\.toml|/|deploy/\.env|tests/browser/output|~)"
)


@pytest.fixture(name="text", params=DOCUMENTS)
def read_document(request: pytest.FixtureRequest) -> str:
    return (ROOT / request.param).read_text("utf-8")


def blocks(text: str, language: str) -> Iterator[str]:
    """The fenced blocks of a language."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield found[1]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def code(text: str) -> Iterator[str]:
    """What stands in backticks, and the lines of shell blocks."""
    yield from re.findall(r"`([^`\n]+)`", prose(text))
    for block in blocks(text, "sh"):
        yield from block.splitlines()


def commands(of: App) -> set[str]:
    return {name for name in of if not name.startswith("-")}


def table_of_commands() -> list[tuple[str, set[str], str]]:
    """Of each row the command, what stands behind it, and the whole."""
    readme = (ROOT / "README.md").read_text("utf-8")
    found: list[tuple[str, set[str], str]] = []
    for row in re.findall(r"^\| `tollway .+$", readme, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", row.split(" | ")[0])
        _, command, *rest = first.split()
        found.append((command, {*rest, *others}, row))
    return found


def test_targets_exist(text: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = {found for piece in code(text) for found in re.findall(r"(?:^| )make ([a-z]+)", piece)}

    assert named <= targets


def test_commands_exist(text: str) -> None:
    for piece in code(text):
        for words in re.findall(r"(?:^|[ /])tollway ((?:[a-z]+ ?)+)", piece):
            command, *rest = words.split()
            assert command in commands(app), piece
            below = commands(app[command])
            if below and rest:
                assert rest[0] in below, piece


def test_the_table_tells_every_command_in_the_order_of_help() -> None:
    rows = table_of_commands()

    assert [command for command, _, _ in rows] == [name for name in app if name in commands(app)]
    for command, called, _ in rows:
        below = commands(app[command])
        # Of a command that has none below it, the row may show what it is called with.
        assert not below or called == below, command


def test_the_table_names_options_that_there_are() -> None:
    for command, _, row in table_of_commands():
        called = [app[command][name] for name in commands(app[command])] or [app[command]]
        known = {
            option
            for one in called
            for argument in one.assemble_argument_collection()
            for option in argument.names
        }
        assert set(re.findall(r"[` ](--[a-z-]+)", row)) <= known, command


def test_links_and_paths_lead_somewhere(text: str, request: pytest.FixtureRequest) -> None:
    folder = (ROOT / request.node.callspec.params["text"]).parent
    links = re.findall(r"\]\(([^)#\s]+)\)", prose(text))
    paths = [
        piece
        for piece in re.findall(r"`([^`\n ]+)`", prose(text))
        if re.fullmatch(r"(gateway|pricing|dashboard|migrations|deploy|tests)/[\w./-]*", piece)
    ]

    for link in links:
        assert "://" in link or (folder / link).exists(), link
    for path in paths:
        assert NOT_IN_THE_TREE.match(path) or (ROOT / path).exists(), path


def test_pictures_are_shown_and_small() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    pictures = list((ROOT / "docs/pictures").iterdir())

    assert pictures
    for picture in pictures:
        assert f"](docs/pictures/{picture.name})" in readme
        assert picture.stat().st_size <= 150_000, picture.name


def test_anchors_exist(text: str) -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }

    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_json_blocks_are_json(text: str) -> None:
    for block in blocks(text, "json"):
        json.loads(block)


def test_configurations_load(text: str, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(text, "toml")):
        path = tmp_path / f"{number}.toml"
        path.write_text(block)
        if block.startswith("# rules.toml\n"):
            assert not compile_rules(block, source="README.md").is_empty
            continue
        assert block.startswith("# tollway.toml\n"), "say which file the block belongs to"
        credentials = re.findall(r'"env:(\w+)"', block)
        secrets = re.findall(r'"file:([^"]+)"', block)

        # Files of the reader's machine are not there: their settings are only parsed.
        settings = load_settings(Flags(config=path), environment=dict.fromkeys(credentials, "x"))
        if not secrets:
            enabled, skipped = find_enabled(settings, load_catalogue(), SUPPORTED_PROTOCOLS)
            assert not skipped
            for provider in enabled:
                for table in provider.settings.endpoints:
                    endpoint_from_config(provider.id, table)


def test_the_answer_shown_has_the_fields_of_an_answer() -> None:
    shown = json.loads(next(blocks((ROOT / "README.md").read_text("utf-8"), "json")))
    usage: dict[str, Any] = json.loads(
        render_usage(Usage(input_tokens=1), Cost(total_usd=Decimal(0)))
    )

    metadata = shown["metadata"]
    assert set(shown["usage"]) <= set(usage)
    # Told only where something was repaired, where `auto` chose, or where it was asked for.
    sometimes = {"repairs", "pool", "plan"}
    told = {field.name for field in msgspec.structs.fields(AnswerMetadata)} - sometimes
    assert set(metadata) == told
    assert set(metadata["routing"][0]) == {
        field.encode_name for field in msgspec.structs.fields(RoutingStep)
    }
    parts = [value for name, value in shown["usage"].items() if name.startswith("cost_usd_")]
    assert sum(map(Decimal, map(str, parts[1:]))) == Decimal(str(parts[0]))


def test_every_variable_told_is_known() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"^\| (`TOLLWAY_.*?) \|", readme, re.MULTILINE))
    variables = {name for cell in named for name in re.findall(r"TOLLWAY_\w+", cell)}

    load_settings(Flags(), environment=dict.fromkeys(variables - {"TOLLWAY_CONFIG"}, "1"))


def test_every_room_is_on_the_map() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    rooms = [path.parent for path in (ROOT / "gateway").glob("*/__init__.py")]

    for room in rooms:
        assert f"| `gateway/{room.name}/` |" in readme, room.name


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    told = {
        name
        for row in re.findall(r"^\| ([^|]+) \| [^|]+ \|$", contributing, re.MULTILINE)
        for name in re.findall(r"[\w-]+", row)
    }

    for wanted in (*project["project"]["dependencies"], *groups["build"], *groups["dev"]):
        name = re.split(r"[<>=\[; ]", wanted)[0]
        assert name in told or name.startswith("pytest-"), name
