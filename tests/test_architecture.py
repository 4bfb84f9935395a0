"""The rules between rooms hold, and each of them is seen to fail when it is broken."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "dashboard", "pricing")
LINTER = Path(sys.executable).parent / "lint-imports"

# Each contract with a file and a line that breaks it.
BREAKS = [
    ("Rooms import downwards only", "gateway/chat/decode.py", "import gateway.storage.tables"),
    ("Rooms import downwards only", "gateway/execution/health.py", "import gateway.ledger.settle"),
    ("Rooms import downwards only", "gateway/domain/ids.py", "import gateway.app"),
    ("Rooms import downwards only", "gateway/helpers.py", "HELP = 1"),
    (
        "Pure rooms do no I/O, read no clock and draw no chance",
        "gateway/routing/order.py",
        "import random",
    ),
    (
        "Pure rooms do no I/O, read no clock and draw no chance",
        "gateway/ledger/settle.py",
        "import time",
    ),
    (
        "Pure rooms do no I/O, read no clock and draw no chance",
        "pricing/cost.py",
        "import os",
    ),
    (
        "Pure rooms do no I/O, read no clock and draw no chance",
        "dashboard/queries.py",
        "import streamlit",
    ),
    ("Pricing imports nothing of ours", "pricing/price.py", "import gateway.domain.ids"),
    ("The simulator imports nothing of ours", "gateway/simulator/wire.py", "import pricing.cost"),
    ("The gateway does not know the dashboard", "gateway/cli/up.py", "import dashboard.serve"),
    (
        "The dashboard knows the tables and the prices, nothing else of the gateway",
        "dashboard/queries.py",
        "import gateway.routing.plan",
    ),
    ("Only the HTTP edge knows the web framework", "gateway/pipeline.py", "import litestar"),
    ("Only storage writes SQL", "gateway/api/chat.py", "import sqlalchemy"),
    ("Only storage writes SQL", "gateway/snapshot/snapshot.py", "import asyncpg"),
]


def contracts() -> list[str]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["name"] for contract in config["tool"]["importlinter"]["contracts"]]


def lint(directory: Path) -> tuple[int, dict[str, bool]]:
    """The exit code, and for each contract whether it is kept."""
    done = subprocess.run(
        [str(LINTER), "--cache-dir", str(directory / "cache")],
        cwd=directory,
        env={"PYTHONPATH": str(directory), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.findall(r"^(.+) (KEPT|BROKEN)$", done.stdout, re.MULTILINE)
    assert said, done.stdout + done.stderr
    return done.returncode, {name: verdict == "KEPT" for name, verdict in said}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The packages' sources alone, where they may be spoilt."""
    directory = tmp_path_factory.mktemp("architecture")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            directory / package,
            ignore=lambda folder, names: [
                name
                for name in names
                if name == "__pycache__"
                or (not name.endswith(".py") and not (Path(folder) / name).is_dir())
            ],
        )
    shutil.copy(ROOT / "pyproject.toml", directory)
    yield directory
    shutil.rmtree(directory)


def test_every_contract_is_kept(copy: Path) -> None:
    code, verdicts = lint(copy)

    assert verdicts == dict.fromkeys(contracts(), True)
    assert code == 0


def test_every_contract_has_an_import_that_breaks_it() -> None:
    assert {name for name, _, _ in BREAKS} == set(contracts())


@pytest.mark.parametrize(("contract", "file", "line"), BREAKS)
def test_a_contract_that_is_broken_is_reported(
    copy: Path, contract: str, file: str, line: str
) -> None:
    spoilt = copy / file
    before = spoilt.read_text() if spoilt.exists() else None
    spoilt.write_text((before or "") + f"\n{line}\n")
    try:
        code, verdicts = lint(copy)
    finally:
        if before is None:
            spoilt.unlink()
        else:
            spoilt.write_text(before)

    assert code != 0
    assert verdicts[contract] is False


def modules(*roots: str) -> list[Path]:
    return [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]


def imported(tree: ast.AST) -> set[str]:
    """The top-level packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


_SQL = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|COPY|NOTIFY|LISTEN|TRUNCATE)\s"
    r"+\w"
)
_DOCSTRING_HOLDERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def texts(tree: ast.AST) -> list[str]:
    """String constants that are not descriptions."""
    described = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, _DOCSTRING_HOLDERS) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in described
    ]


def test_nobody_but_storage_and_the_shipping_of_records_speaks_to_the_database() -> None:
    on_the_path_of_a_request = {"settle.py", "journal.py", "spool.py", "frames.py"}
    may = {
        path for path in modules("gateway/ledger") if path.name not in on_the_path_of_a_request
    } | {
        # Opens a connection for a command and hands it to storage.
        ROOT / "gateway/cli/database.py",
    }
    found: list[str] = []
    for path in modules("gateway"):
        if path in may or ROOT / "gateway/storage" in path.parents:
            continue
        tree = ast.parse(path.read_text())
        if imported(tree) & {"sqlalchemy", "asyncpg", "alembic", "psycopg"}:
            found.append(f"{path.relative_to(ROOT)} imports a database library")
        found += [
            f"{path.relative_to(ROOT)} holds SQL: {text[:60]!r}"
            for text in texts(tree)
            if _SQL.match(text)
        ]

    assert found == []


def test_nobody_but_storage_and_the_migrations_writes_statements_as_text() -> None:
    found: list[str] = []
    for path in modules("gateway/ledger", "gateway/cli", "gateway/api", "dashboard"):
        tree = ast.parse(path.read_text())
        found += [
            f"{path.relative_to(ROOT)}: {text[:60]!r}" for text in texts(tree) if _SQL.match(text)
        ]

    assert found == []


def test_money_is_never_a_float() -> None:
    tree = ast.parse((ROOT / "pricing/cost.py").read_text())
    floats = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    ]

    assert floats == []


def test_only_the_edge_imports_the_web_framework() -> None:
    users = {
        path.relative_to(ROOT).parts[1]
        for path in modules("gateway")
        if "litestar" in imported(ast.parse(path.read_text()))
    }

    assert users <= {"api", "app.py", "processes", "cli"}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules(*PACKAGES)
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "core", "common", "services", "helpers", "misc"}

    assert [str(path) for path in modules(*PACKAGES) if empty & {path.stem, *path.parts}] == []
