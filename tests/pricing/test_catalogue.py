"""The catalogue is indexed, layered without being changed, and read from files once."""

from pathlib import Path

import pytest

from pricing.catalogue import (
    Catalogue,
    CatalogueError,
    Model,
    Provider,
    endpoint_from_config,
    load_catalogue,
)

TABLE = """\
[provider]
id = "acme"
name = "Acme"
base_url = "https://acme.example/v1"

[[endpoints]]
id = "big-1"
model = "acme/big-1"

[[endpoints.prices]]
input_usd_per_mtok = 0.0625
output_usd_per_mtok = 2
source = "https://acme.example/prices"
checked = 2026-11-01
"""
MODELS = """\
[[models]]
id = "acme/big-1"
aliases = ["acme/big-latest"]
auto = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables = tmp_path / "tables"
    tables.mkdir()
    tables.joinpath("acme.toml").write_text(TABLE)
    tables.joinpath("models.toml").write_text(MODELS)
    return tables


@pytest.fixture
def acme(folder: Path) -> Catalogue:
    return load_catalogue(folder)


def test_a_model_is_found_by_its_name_an_alias_and_its_slug(acme: Catalogue) -> None:
    endpoint = acme.endpoints_by_id["acme/big-1"]

    assert acme.endpoints_of("acme/big-1") == (endpoint,)
    assert acme.endpoints_of("acme/big-latest") == (endpoint,)
    assert acme.model_named("acme/big-latest") == "acme/big-1"
    assert acme.models_of_slug("big-1") == ("acme/big-1",)
    assert acme.models_of_slug("big-latest") == ("acme/big-1",)
    assert acme.models["acme/big-1"].auto


def test_an_unknown_name_finds_nothing(acme: Catalogue) -> None:
    assert acme.endpoints_of("acme/none") == ()
    assert acme.model_named("acme/none") is None
    assert acme.models_of_slug("none") == ()


def test_an_operators_endpoint_lies_on_top_and_replaces_one_of_the_same_id(
    acme: Catalogue,
) -> None:
    own = endpoint_from_config("acme", {"id": "big-1", "model": "acme/big-1", "name": "ours"})
    other = endpoint_from_config("lab", {"id": "big", "model": "acme/big-1"})

    layered = acme.with_endpoints([Provider(id="lab", name="Lab")], [own, other])

    assert layered.endpoints_of("acme/big-1") == (own, other)
    assert layered.providers.keys() == {"acme", "lab"}
    assert layered.models["acme/big-1"].aliases == ("acme/big-latest",)
    assert layered.version != acme.version
    assert acme.endpoints_by_id["acme/big-1"].name is None


def test_a_slug_that_two_authors_use_names_both_models(acme: Catalogue) -> None:
    other = endpoint_from_config("lab", {"id": "big-1", "model": "lab/big-1"})

    layered = acme.with_endpoints([Provider(id="lab", name="Lab")], [other])

    assert layered.models_of_slug("big-1") == ("acme/big-1", "lab/big-1")
    assert layered.models["lab/big-1"] == Model(id="lab/big-1", name="big-1", author="lab")


def test_a_restricted_catalogue_knows_only_what_its_providers_serve(shipped: Catalogue) -> None:
    restricted = shipped.restricted_to(["groq", "nobody"])

    assert restricted.providers.keys() == {"groq"}
    assert {endpoint.provider for endpoint in restricted.endpoints_by_id.values()} == {"groq"}
    assert restricted.models_of_slug("gpt-oss-120b") == ("openai/gpt-oss-120b",)
    assert restricted.models_of_slug("gpt-4o") == ()
    assert restricted.version not in {shipped.version, shipped.restricted_to(["openai"]).version}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o-minni", "openai/gpt-4o-mini"),
        ("openai/gpt4o-mini", "openai/gpt-4o-mini"),
        ("CLAUDE-sonet-4.5", "anthropic/claude-sonnet-4.5"),
        ("deepseek/deepseek-v4pro", "deepseek/deepseek-v4-pro"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_models(
    shipped: Catalogue, name: str, expected: str
) -> None:
    nearest = shipped.nearest(name)

    assert nearest[0] == expected
    assert len(nearest) <= 3


@pytest.mark.parametrize("name", ["", "x", "zzzzzz", "\0" * 9, "q" * 100_000])
def test_a_name_like_no_model_has_no_nearest_one(shipped: Catalogue, name: str) -> None:
    assert shipped.nearest(name) == ()


def test_a_cache_says_what_the_tables_say(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "catalogue.cache"

    first = load_catalogue(folder, cache=cache)
    again = load_catalogue(folder, cache=cache)

    assert again == first == load_catalogue(folder)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["catalogue.cache"]


def test_the_shipped_tables_survive_the_cache_whole(shipped: Catalogue, tmp_path: Path) -> None:
    cache = tmp_path / "catalogue.cache"
    load_catalogue(cache=cache)

    assert load_catalogue(cache=cache) == shipped


def test_a_cache_of_other_tables_is_not_used(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "catalogue.cache"
    before = load_catalogue(folder, cache=cache)
    folder.joinpath("acme.toml").write_text(TABLE.replace("big-1", "big-2"))

    after = load_catalogue(folder, cache=cache)

    assert after.endpoints_by_id.keys() == {"acme/big-2"}
    assert after.version != before.version


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 5000])
def test_a_damaged_cache_only_costs_time(folder: Path, tmp_path: Path, damage: bytes) -> None:
    cache = tmp_path / "catalogue.cache"
    whole = load_catalogue(folder, cache=cache)
    written = cache.read_bytes()
    cache.write_bytes(damage)

    assert load_catalogue(folder, cache=cache) == whole
    assert cache.read_bytes() == written


def test_a_cache_that_cannot_be_written_only_costs_time(folder: Path, tmp_path: Path) -> None:
    catalogue = load_catalogue(folder, cache=tmp_path / "missing" / "catalogue.cache")

    assert catalogue == load_catalogue(folder)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        pytest.param("[provider", None, "is not valid TOML", id="not TOML"),
        pytest.param(b"\xff\xfe", None, "is not valid TOML", id="not UTF-8"),
        pytest.param("", None, "there is no [provider] table", id="empty"),
        pytest.param(
            TABLE.replace('name = "Acme"', 'nmae = "Acme"'),
            3,
            "did you mean `name`?",
            id="provider",
        ),
        pytest.param(TABLE + "\n[[endpoint]]\n", 16, "unknown table `endpoint`", id="table"),
        pytest.param(
            TABLE.replace("output_usd", "ouput_usd"),
            12,
            "endpoint `big-1`: unknown key `ouput_usd_per_mtok`; "
            "did you mean `output_usd_per_mtok`?",
            id="key",
        ),
        pytest.param(
            TABLE.replace("0.0625", "0"), 11, "`input_usd_per_mtok` may be 0 only", id="value"
        ),
        pytest.param(
            TABLE.replace("output", "to = 2026-01-01T00:00:00Z\noutput")
            + "\n[[endpoints.prices]]\nfrom = 2026-01-01T00:00:00Z\n"
            "input_usd_per_mtok = 625\noutput_usd_per_mtok = 700\n",
            19,
            "must be at most 200",
            id="value of the second price",
        ),
        pytest.param(TABLE + '\n[[endpoints]]\nid = "big-1"\n', 7, "is declared twice", id="twice"),
    ],
)
def test_a_wrong_table_names_the_file_the_line_and_the_remedy(
    folder: Path, content: str | bytes, line: int | None, words: str
) -> None:
    file = folder / "acme.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(CatalogueError) as caught:
        load_catalogue(folder)

    assert str(caught.value).startswith(f"{file}:{line}: " if line else f"{file}: ")
    assert words in str(caught.value)


def test_a_model_without_an_author_is_refused(folder: Path) -> None:
    folder.joinpath("models.toml").write_text('[[models]]\nid = "big-1"\n')

    with pytest.raises(CatalogueError, match=r"models\.toml:2: a model is named author/slug"):
        load_catalogue(folder)


def test_a_folder_without_tables_is_an_incomplete_installation(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="install it again"):
        load_catalogue(tmp_path)
