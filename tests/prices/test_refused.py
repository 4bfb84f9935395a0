"""Every rule of prices refuses with place, value and remedy, and what was in force stays so.

The rules have the numbers of the list they come from; those that only warn, and those that hold up
an import, stand in `tests/pricing/test_promises.py`.
"""

import logging
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import redirect_stdout
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
import httpx
import msgspec
import pytest

from gateway.api.admin.application import admin_app
from gateway.api.admin.guard import Guard
from gateway.api.admin.prices import PriceDesk, admin_price_routes
from gateway.cli.main import app
from gateway.cli.printing import CommandError
from gateway.settings.load import load_settings
from gateway.settings.offer import make_offer
from gateway.snapshot.prices import StoredPrices
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.price_changes import add_price_change
from pricing.catalogue import Catalogue, CatalogueError, load_catalogue
from pricing.operator_layer import PriceChange
from pricing.price import resolve
from tests.storage.samples import migrated

pytestmark = pytest.mark.anyio
OWNER = {"authorization": "Bearer owner-token-0123456789"}
GOOD = {
    "context_tokens": "1000",
    "max_output_tokens": "100",
    "input_usd_per_mtok": "1",
    "output_usd_per_mtok": "2",
    "cache_read_usd_per_mtok": "0.5",
    "cache_write_usd_per_mtok": "1.25",
    "cache_write_1h_usd_per_mtok": "2",
    "source": '"https://acme.example/prices"',
    "checked": "2026-11-01",
}
OF_ENDPOINT = {"context_tokens", "max_output_tokens"}
FLAGS = {
    "input_usd_per_mtok": "--input",
    "output_usd_per_mtok": "--output",
    "cache_read_usd_per_mtok": "--cache-read",
    "cache_write_usd_per_mtok": "--cache-write",
    "cache_write_1h_usd_per_mtok": "--cache-write-1h",
}
TIER = "\n[[{path}.size_tiers]]\nmin_prompt_tokens = 100\n"
EVERYWHERE = ("table", "file", "api")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A price that breaks a rule."""

    rule: int
    keys: dict[str, str | None] = {}
    """TOML of what differs from the good price; None leaves the key out."""
    tail: str = ""
    key: str
    value: str | None
    """As the message shows it; None where there is nothing to show."""
    remedy: str
    places: tuple[str, ...] = EVERYWHERE

    def lines(self, path: str) -> list[str]:
        """The endpoint's table below a header of that path."""
        keys = {name: text for name, text in (GOOD | self.keys).items() if text is not None}
        pairs = [f"{name} = {text}" for name, text in keys.items()]
        tail = self.tail.format(path=path)
        return [f"[[{path}]]", 'id = "m1"', 'model = "acme/m1"', *pairs, *tail.splitlines()]

    def terms(self) -> dict[str, Any]:
        """As JSON for the admin API: amounts are texts."""
        read = tomllib.loads("\n".join(self.lines("endpoints")), parse_float=Decimal)
        (table,) = read["endpoints"]
        own = {*OF_ENDPOINT, "id", "model"}
        return {name: _as_json(item) for name, item in table.items() if name not in own}


def _as_json(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [_as_json(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in cast("dict[str, object]", value).items()}
    return value


def _slip(rule: int, key: str, text: str, remedy: str, /, **more: Any) -> Case:
    known: dict[str, Any] = {"keys": {key: text}, "key": key, "value": text, "remedy": remedy}
    return Case(rule=rule, **(known | more))


INPUT, OUTPUT = "input_usd_per_mtok", "output_usd_per_mtok"
READ, KEPT, HOUR = (
    "cache_read_usd_per_mtok", "cache_write_usd_per_mtok", "cache_write_1h_usd_per_mtok",
)  # fmt: skip
CASES = {
    "1 thirteen decimals": _slip(1, INPUT, "0.1000000000001", "rounded to 12 decimals"),
    "1 negative": _slip(1, OUTPUT, "-2", "write the price in USD per unit"),
    "1 no number": _slip(1, INPUT, "nan", "write the price in USD per unit", value="NaN"),
    "1 words": _slip(1, INPUT, '"cheap"', "write a number, as 0.15", value="cheap"),
    "1 another currency": _slip(1, "currency", '"EUR"', "known keys:", value=None),
    "2 input per thousand": _slip(2, INPUT, "201", "USD per million tokens"),
    "2 output per thousand": _slip(2, OUTPUT, "1001", "USD per million tokens"),
    "5 cache reads above input": _slip(5, READ, "1.1", "leave the rate out"),
    "6 cache writes below input": _slip(6, KEPT, "0.9", "write 0 where writing is free"),
    "6 an hour below minutes": _slip(
        6, HOUR, "1.2", "look whether the two were exchanged", key=KEPT, value="1.25"
    ),
    "7 a cheaper tier": Case(
        rule=7,
        tail=TIER + "scale = 0.5",
        key="scale",
        value="0.5",
        remedy="make the base price the one of the smallest prompts",
    ),
    "7 tiers that do not rise": Case(
        rule=7,
        tail=TIER + "scale = 2" + TIER + "scale = 3",
        key="min_prompt_tokens",
        value="[100, 100]",
        remedy="sort the size tiers",
    ),
    "7 half a tier": Case(
        rule=7,
        tail=TIER + "input_usd_per_mtok = 5",
        key="min_prompt_tokens",
        value=None,
        remedy="add the missing rates, or use `scale`",
    ),
    "8 zero": _slip(8, INPUT, "0", "add `free = true`"),
    "8 zero for long prompts": Case(
        rule=8,
        tail="\n[{path}.service_tiers.flex]\ninput_usd_per_mtok = 0",
        key=INPUT,
        value="0",
        remedy="leave out a price that is not known",
    ),
    "9 half a price": _slip(9, OUTPUT, "", f"add `{OUTPUT}`", keys={OUTPUT: None}, key="prices",
                            value=None),
    "10 more output than context": _slip(10, "max_output_tokens", "1001", "correct one of them"),
    "15 no source": _slip(15, "source", "", "say where it stands", keys={"source": None},
                          key="prices", value=None, places=("table",)),
    "15 never checked": _slip(15, "checked", "", "on which day", keys={"checked": None},
                              key="prices", value=None, places=("table",)),
}  # fmt: skip


def cases(place: str) -> dict[str, Case]:
    return {name: case for name, case in CASES.items() if place in case.places}


def line_of(lines: list[str], case: Case) -> int:
    """Where the key stands with its wrong value, else the key, else the endpoint's id."""
    wrong = [n for n, line in enumerate(lines) if line.startswith(f"{case.key} = ")]
    shown = [n for n in wrong if case.value is not None and lines[n].endswith(f"= {case.value}")]
    named = [n for n, line in enumerate(lines) if line.startswith("id = ")]
    return (shown or wrong or named)[0] + 1


def tell(case: Case, said: str) -> None:
    assert case.remedy in said
    if case.value is not None:
        shown = said.replace("'", "")
        assert f"not {case.value};" in shown or f"is wrong: {case.value};" in shown


def price_of(catalogue: Catalogue, endpoint: str = "acme/m1") -> Decimal | None:
    held = resolve(catalogue.endpoints_by_id[endpoint], at=datetime.now(UTC), prompt_tokens=1)
    assert held is not None
    return held.input_usd_per_mtok


@pytest.mark.parametrize("name", cases("table"))
def test_a_table_that_is_shipped_is_refused_at_its_line_and_the_last_one_stays(
    name: str, tmp_path: Path
) -> None:
    tables, cache = tmp_path / "tables", tmp_path / "cache"
    tables.mkdir()
    file = tables / "acme.toml"
    header = ["[provider]", 'id = "acme"', 'name = "Acme"', ""]
    good = "\n".join([*header, *Case(rule=0, key="", value="", remedy="").lines("endpoints")])
    file.write_text(good)
    before = load_catalogue(tables, cache=cache)
    lines = [*header, *CASES[name].lines("endpoints")]
    file.write_text("\n".join(lines))

    with pytest.raises(CatalogueError) as caught:
        load_catalogue(tables, cache=cache)

    at = line_of(lines[len(header) :], CASES[name]) + len(header)
    assert str(caught.value).startswith(f"{file}:{at}: ")
    tell(CASES[name], str(caught.value))
    file.write_text(good)
    assert load_catalogue(tables, cache=cache) == before


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that the shipped tables are parsed once."""
    return tmp_path_factory.mktemp("data")


def tables_of(home: Path, data_dir: Path) -> Catalogue:
    environment = {"TOLLWAY_DATA_DIR": str(data_dir)}
    return make_offer(load_settings(environment=environment, directory=home), None).catalogue


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]) -> Path:
    """An installation with one good price and a database."""
    place = tmp_path_factory.mktemp("refused")
    (place / "dsn").write_text(migrated(postgres_dsn))
    write_settings(place, [*Case(rule=0, key="", value="", remedy="").lines(PATH)])
    return place


PATH = "providers.acme.endpoints"
HEAD = ["[providers.other]", 'base_url = "http://127.0.0.1:9/v1"', "allow_private = true",
        "[[providers.other.endpoints]]", 'id = "m1"', "input_usd_per_mtok = 1",
        "output_usd_per_mtok = 2", "[providers.acme]", 'base_url = "http://127.0.0.1:9/v1"',
        "allow_private = true"]  # fmt: skip


def write_settings(home: Path, lines: list[str]) -> Path:
    """Another provider has an endpoint of the same name, which is as it should be."""
    file = home / "tollway.toml"
    file.write_text("\n".join([f'database_url = "file:{home}/dsn"', *HEAD, *lines]))
    return file


@pytest.mark.parametrize("name", cases("file"))
def test_an_endpoint_of_the_settings_is_refused_at_its_line(
    name: str, tmp_path: Path, data_dir: Path
) -> None:
    lines = CASES[name].lines(PATH)
    file = write_settings(tmp_path, lines)
    (tmp_path / "dsn").write_text("postgresql://nowhere")

    with pytest.raises(CatalogueError) as caught:
        tables_of(tmp_path, data_dir)

    at = line_of(lines, CASES[name]) + len(HEAD) + 1
    assert str(caught.value).startswith(f"{file}:{at}: ")
    tell(CASES[name], str(caught.value))


class Site:
    """The admin API on a database, with what a worker has in force."""

    def __init__(self, home: Path, data_dir: Path) -> None:
        self.dsn = (home / "dsn").read_text()
        tables = tables_of(home, data_dir)
        self.snapshots = SnapshotHolder(Snapshot(catalogue=tables))
        self.asker = Asker(self.dsn, within_s=5.0, application_name="tests")
        self.prices = StoredPrices(self.snapshots, tables, home / "copies" / "prices")
        desk = PriceDesk(self.asker, self.snapshots, tables)
        served = admin_app(admin_price_routes(desk), Guard("owner-token-0123456789"))
        transport = httpx.ASGITransport(app=served)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
        self.client = httpx.AsyncClient(transport=transport, base_url="http://admin", headers=OWNER)

    async def in_force(self) -> tuple[str, Decimal | None]:
        await self.asker(self.prices.follow)
        catalogue = self.snapshots.current.catalogue
        return catalogue.version, price_of(catalogue)


@pytest.fixture
async def site(home: Path, data_dir: Path, anyio_backend: str) -> AsyncIterator[Site]:
    made = Site(home, data_dir)
    yield made
    await made.client.aclose()
    await made.asker.aclose()


@pytest.mark.parametrize("name", cases("api"))
async def test_the_admin_api_refuses_it_and_the_price_in_force_stays(name: str, site: Site) -> None:
    case = CASES[name]
    before = await site.in_force()
    wish: dict[str, Any] = {"kind": "price", "target": "acme/m1", "terms": case.terms()}
    if OF_ENDPOINT & case.keys.keys():
        limits = {key: int(GOOD[key]) for key in OF_ENDPOINT}
        limits |= {key: int(case.keys[key] or 0) for key in OF_ENDPOINT & case.keys.keys()}
        wish = {"kind": "endpoint", "target": "acme/m2", "endpoint": case.terms() | limits}

    for path in ("check", "changes"):
        answer = await site.client.post(f"/admin/prices/{path}", json={**wish, "reason": "x"})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == case.key
        tell(case, answer.json()["error"]["message"])

    assert await site.in_force() == before
    assert (await site.client.get("/admin/prices/changes")).json()["data"] == []


@pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if c.keys.keys() <= FLAGS.keys() and c.keys and c.value]
)
async def test_the_command_line_refuses_it_and_the_price_in_force_stays(
    name: str, home: Path, data_dir: Path, site: Site
) -> None:
    case = CASES[name]
    before = await site.in_force()
    flags = [f"{FLAGS[key]}={(text or '').strip(chr(34))}" for key, text in case.keys.items()]
    options = ["--config", str(home / "tollway.toml"), "--data-dir", str(data_dir)]

    def run() -> str:
        with redirect_stdout(StringIO()), pytest.raises(CommandError) as caught:
            app(
                ["prices", "set", "acme/m1", *flags, "--reason", "x", *options],
                exit_on_error=False,
                result_action="return_value",
            )
        return str(caught.value)

    said = await anyio.to_thread.run_sync(run)

    tell(case, said)
    assert "acme/m1" in said or "`m1`" in said
    assert await site.in_force() == before


@pytest.mark.parametrize("kind", ["price", "endpoint"])
async def test_an_amount_that_came_through_a_binary_fraction_is_refused(
    kind: str, site: Site
) -> None:
    held = {"price": "terms"}.get(kind, kind)
    table: dict[str, Any] = {INPUT: 1, "size_tiers": [{"min_prompt_tokens": 9, "scale": 1.5}]}
    wish = {"kind": kind, "target": "acme/m1", held: table, "reason": "x"}

    answer = await site.client.post("/admin/prices/check", json=wish)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "scale")
    assert 'send the amount as a text: "1.5"' in answer.json()["error"]["message"]


async def test_a_wrong_change_that_got_into_the_database_is_told_and_what_was_good_stays(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    before = await site.in_force()
    wrong = PriceChange(
        id="new",
        kind="price",
        target="acme/m1",
        terms={"input_usd_per_mtok": "500", "output_usd_per_mtok": "600"},
        effective_from=datetime.now(UTC),
        recorded_at=datetime.now(UTC),
        recorded_by="somebody with psql",
        reason="x",
    )

    async def slip_in(connection: Connection) -> PriceChange:
        return await add_price_change(connection, wrong)

    change = await site.asker(slip_in)
    with caplog.at_level(logging.ERROR, "tollway.prices"):
        assert await site.in_force() == before

    assert "those in force stay" in caplog.text
    assert "must be at most 200" in caplog.text
    assert change.id in caplog.text
