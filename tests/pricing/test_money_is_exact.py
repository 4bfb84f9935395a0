"""Nothing in pricing touches binary floats, clocks, chance or the network: read from the source."""

import ast
from pathlib import Path

import pytest

import pricing

ROOM = Path(pricing.__file__).parent
FILES = sorted(ROOM.rglob("*.py"))
IMPURE = {"asyncio", "time", "random", "os", "socket", "httpx", "sqlalchemy", "litestar"}


def _named(path: Path) -> str:
    return str(path.relative_to(ROOM))


@pytest.mark.parametrize("file", FILES, ids=_named)
def test_a_file_of_pricing_uses_no_floats(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
        # Shares of names (how alike two spellings are) are the only ratios here.
        assert not is_float or file.name in {"catalogue.py", "errors.py"}, ast.dump(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"float", "round"}, node.lineno


@pytest.mark.parametrize("file", FILES, ids=_named)
def test_a_file_of_pricing_imports_nothing_impure_and_nothing_else_of_ours(file: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])

    assert not imported & (IMPURE | {"gateway", "dashboard", "migrations"})


def test_only_the_resolver_and_the_cost_compute_with_decimals() -> None:
    computing = {
        file.name
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "decimal"
        if {alias.name for alias in node.names} - {"Decimal"}
    }

    assert computing == {"cost.py", "discount.py", "price.py"}
