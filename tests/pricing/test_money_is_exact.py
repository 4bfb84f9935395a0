"""Money never passes through binary floats, and pricing is pure: read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from sqlalchemy import Numeric

import pricing
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage import rollup_tables
from gateway.storage.tables import metadata
from pricing.cost import Cost
from pricing.price import Price

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
        assert not is_float or file.name in {"errors.py", "nearest.py"}, ast.dump(node)
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


REPOSITORY = ROOM.parent
MONEY = re.compile(r"usd|cost|price|amount|rates?\b", re.IGNORECASE)
# Where money becomes a float on purpose: weights of draws and an index for routing, a metric, the
# share that one amount is of another. Nothing of it is ever paid, stored or added to money.
ORDERING = {"routing/auto_index.py", "routing/order.py", "routing/balance.py", "routing/auto.py"}
REVIEWED = ORDERING | {"metrics/tally.py", "api/admin/preview.py"}


def _floated(file: Path) -> list[str]:
    """Calls of a file that make a float of money, or money of a float."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
            continue
        argument = node.args[0]
        if node.func.id == "float" and MONEY.search(ast.unparse(argument)):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        if node.func.id == "Decimal" and (
            (isinstance(argument, ast.Constant) and isinstance(argument.value, float))
            or (
                isinstance(argument, ast.Call)
                and isinstance(argument.func, ast.Name)
                and argument.func.id == "float"
            )
        ):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def _files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((REPOSITORY / folder).rglob("*.py"))]


def test_no_file_of_the_gateway_makes_a_float_of_money() -> None:
    found = {
        str(file.relative_to(REPOSITORY / "gateway")): floated
        for file in _files("gateway")
        if (floated := _floated(file))
    }

    assert {name: calls for name, calls in found.items() if name not in REVIEWED} == {}
    assert found.keys() >= ORDERING, "what is no exception any more is taken off the list"


def test_in_the_dashboard_money_becomes_a_float_only_to_be_drawn() -> None:
    sums = [REPOSITORY / "dashboard" / f"{name}.py" for name in ("source", "sums", "schemas")]
    found = {
        file.name: floated
        for file in [*sums, *_files("dashboard/queries")]
        if (floated := _floated(file))
    }

    assert found == {}
    for name, kind in _schema_columns():
        assert not (name.endswith("_usd") and "Float" in kind), name


def _schema_columns() -> Iterator[tuple[str, str]]:
    """Names and types as they stand in the dashboard's schemas."""
    tree = ast.parse((REPOSITORY / "dashboard" / "schemas.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, ast.unparse(value)


def test_every_amount_in_the_database_is_numeric_with_twelve_decimals() -> None:
    assert rollup_tables.metadata is metadata
    columns = [
        column
        for table in metadata.tables.values()
        for column in table.columns
        if column.name.endswith("_usd")
    ]

    assert len(columns) > 50
    for column in columns:
        assert isinstance(column.type, Numeric), column
        assert (column.type.precision, column.type.scale) == (24, 12), column


@pytest.mark.parametrize("struct", [RequestRecord, AttemptRecord, Cost, Price])
def test_every_amount_of_a_record_is_a_decimal(struct: type[msgspec.Struct]) -> None:
    amounts = [field for field in msgspec.structs.fields(struct) if "usd" in field.name]

    for field in amounts:
        assert float not in {field.type, *get_args(field.type)}, field.name
        assert "Decimal" in str(field.type), field.name
