"""Where settings come from, which source wins, and what a mistake in them is answered with."""

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.settings.load import SettingsError, load_settings, read_secret
from gateway.settings.values import Flags, Settings

SECRET = "sk-never-shown-0123456789"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


def write(here: Path, text: str, name: str = "tollway.toml") -> Path:
    path = here / name
    path.write_text(text)
    return path


def load(here: Path, flags: Flags | None = None, **environment: str) -> Settings:
    return load_settings(flags, environment=environment, directory=here)


def complaint(here: Path, text: str, **environment: str) -> str:
    write(here, text)
    with pytest.raises(SettingsError) as caught:
        load(here, None, **environment)
    return str(caught.value)


class TestWhichSourceWins:
    def test_without_any_source_the_defaults_hold(self, here: Path) -> None:
        settings = load(here)

        assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8080, 1)
        assert (settings.admin_port, settings.dashboard_port) == (8081, 8501)
        assert settings.data_dir == here / ".tollway"
        assert (settings.config_path, settings.database_url, settings.secret) == (None, None, None)
        assert settings.deadlines.first_token_s == 60
        assert settings.routing.max_attempts == 3

    def test_the_file_beats_the_defaults(self, here: Path) -> None:
        path = write(here, "port = 9000\nworkers = 2\n[deadlines]\nidle_s = 12.5\n")
        settings = load(here)

        assert (settings.port, settings.workers) == (9000, 2)
        assert settings.deadlines.idle_s == 12.5
        assert settings.deadlines.connect_s == 3
        assert settings.config_path == path

    def test_the_environment_beats_the_file_and_flags_beat_both(self, here: Path) -> None:
        write(here, 'port = 9000\nhost = "10.0.0.1"\nadmin_port = 9001\n')
        flags = Flags(port=7000)
        settings = load(here, flags, TOLLWAY_PORT="8000", TOLLWAY_ADMIN_PORT="8001")

        assert settings.port == 7000
        assert settings.admin_port == 8001
        assert settings.host == "10.0.0.1"

    def test_port_zero_is_a_port_and_not_an_absence(self, here: Path) -> None:
        write(here, "port = 9000\n")

        assert load(here, Flags(port=0)).port == 0
        assert load(here, TOLLWAY_PORT="0").port == 0

    def test_an_empty_variable_is_as_good_as_none(self, here: Path) -> None:
        assert load(here, TOLLWAY_PORT="", TOLLWAY_HOST="").port == 8080

    @pytest.mark.parametrize("source", ["flag", "variable"])
    def test_a_file_can_be_named(self, here: Path, source: str) -> None:
        other = write(here, "port = 9100\n", "other.toml")
        write(here, "port = 9000\n")
        if source == "flag":
            settings = load(here, Flags(config=other))
        else:
            settings = load(here, TOLLWAY_CONFIG=str(other))

        assert settings.port == 9100
        assert settings.config_path == other

    def test_a_named_file_that_is_missing_is_an_error(self, here: Path) -> None:
        with pytest.raises(SettingsError, match="no such configuration file"):
            load(here, TOLLWAY_CONFIG=str(here / "missing.toml"))

    def test_the_data_directory_lies_beside_the_file_it_is_named_in(self, here: Path) -> None:
        (here / "conf").mkdir()
        path = write(here / "conf", 'data_dir = "data"\n')

        assert load(here, Flags(config=path)).data_dir == here / "conf" / "data"
        assert load(here, Flags(config=path, data_dir=Path("/srv/x"))).data_dir == Path("/srv/x")
        assert load(here, TOLLWAY_CONFIG=str(path), TOLLWAY_DATA_DIR="/srv/y").data_dir == Path(
            "/srv/y"
        )

    def test_an_empty_file_changes_nothing(self, here: Path) -> None:
        write(here, "")
        assert load(here).port == 8080

    def test_empty_tables_change_nothing(self, here: Path) -> None:
        write(here, "[deadlines]\n[limits]\n[routing]\n[aliases]\n[providers]\n[providers.groq]\n")
        settings = load(here)

        assert settings.deadlines.total_s == 600
        assert settings.providers["groq"].enabled

    def test_whole_numbers_may_stand_for_seconds_and_prices_stay_exact(self, here: Path) -> None:
        write(
            here,
            "[deadlines]\nidle_s = 5\n[providers.mock]\nbase_url = 'http://127.0.0.1:1/v1'\n"
            "[[providers.mock.endpoints]]\nmodel = 'mock/fast'\nid = 'fast'\n"
            "input_usd_per_mtok = 0.15\n",
        )
        settings = load(here)

        assert settings.deadlines.idle_s == 5
        price = settings.providers["mock"].endpoints[0]["input_usd_per_mtok"]
        assert price == Decimal("0.15")
        assert isinstance(price, Decimal)

    def test_aliases_are_read(self, here: Path) -> None:
        write(here, '[aliases]\nfast = "openai/gpt-4o-mini"\n')
        assert load(here).aliases == {"fast": "openai/gpt-4o-mini"}


class TestAMistakeInTheFile:
    @pytest.mark.parametrize(
        ("text", "line", "key", "nearest"),
        [
            ("\nprot = 9000\n", 2, "prot", "port"),
            ("port = 1\n\n[routing]\nmax_attemps = 2\n", 4, "max_attemps", "max_attempts"),
            ("[deadlines]\nidle = 2\n", 2, "idle", "idle_s"),
            ("[limits]\n\nbody_byte = 2\n", 3, "body_byte", "body_bytes"),
            ("[provider.groq]\n", 1, "provider", "providers"),
            ("[providers.groq]\nbase_ulr = 'x'\n", 2, "base_ulr", "base_url"),
            ("[rooting]\n", 1, "rooting", "routing"),
        ],
    )
    def test_an_unknown_key_names_file_line_key_and_the_nearest_known_one(
        self, here: Path, text: str, line: int, key: str, nearest: str
    ) -> None:
        said = complaint(here, text)

        assert said.startswith(f"{here}/tollway.toml:{line}: ")
        assert f"`{key}` is not known" in said
        assert f"did you mean {nearest}?" in said

    def test_a_key_that_resembles_none_is_told_what_there_is(self, here: Path) -> None:
        said = complaint(here, "[routing]\nzzzzzz = 1\n")
        assert "known are slash_pins_provider, max_attempts, expected_output_tokens" in said

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ('port = "8080"\n', 1, ["port", "int", "str"]),
            ("host = 7\n", 1, ["host", "str", "int"]),
            ("workers = 1.5\n", 1, ["workers"]),
            ("[deadlines]\nidle_s = 'soon'\n", 2, ["deadlines.idle_s", "float", "str"]),
            ("[providers.a]\n[providers.b]\nenabled = 'yes'\n", 3, ["providers.b.enabled", "bool"]),
            ("[providers.a]\nprotocol = 'grpc'\n", 2, ["protocol", "grpc"]),
            ("[aliases]\na = 'b'\nx = 1\n", 3, ["aliases.x", "str"]),
            ("routing = 3\n", 1, ["routing", "object"]),
        ],
    )
    def test_a_value_of_the_wrong_type_names_place_and_both_types(
        self, here: Path, text: str, line: int, words: list[str]
    ) -> None:
        said = complaint(here, text)

        assert said.startswith(f"{here}/tollway.toml:{line}: ")
        for word in words:
            assert word in said

    def test_the_line_is_that_of_the_key_in_its_own_table(self, here: Path) -> None:
        said = complaint(
            here, "[providers.a]\nconnect_s = 1\n\n[deadlines]\nidle_s = 2\nconnect_s = 'x'\n"
        )
        assert said.startswith(f"{here}/tollway.toml:6: ")

    @pytest.mark.parametrize(
        "text", ["deadlines.idle_s = 'x'\n", "deadlines = {idle_s = 'x'}\n", "'deadlines'.idle_s=0"]
    )
    def test_the_line_is_found_however_the_key_is_written(self, here: Path, text: str) -> None:
        assert complaint(here, "port = 1\n" + text).startswith(f"{here}/tollway.toml:2: deadlines")

    @pytest.mark.parametrize(
        ("text", "line"), [("port = \n", 1), ("a = 1\n[x\n", 2), ("port = 1\nport = 2\n", 2)]
    )
    def test_what_is_not_toml_names_the_line(self, here: Path, text: str, line: int) -> None:
        said = complaint(here, text)

        assert "not valid TOML" in said
        assert f"line {line}" in said

    def test_what_is_not_utf8_names_the_byte(self, here: Path) -> None:
        (here / "tollway.toml").write_bytes(b'host = "\xff"\n')
        with pytest.raises(SettingsError, match="is not UTF-8"):
            load(here)

    def test_a_directory_in_its_place_is_no_configuration(self, here: Path) -> None:
        with pytest.raises(SettingsError, match="no such configuration file"):
            load(here, TOLLWAY_CONFIG=str(here))

    @pytest.mark.parametrize("port", [-1, 65_536, 1_000_000])
    def test_a_port_out_of_range_is_refused(self, here: Path, port: int) -> None:
        assert "expected 0 to 65535" in complaint(here, f"port = {port}\n")

    @pytest.mark.parametrize(
        "text",
        [
            "[deadlines]\nidle_s = 0\n",
            "[deadlines]\ntotal_s = -1\n",
            "[deadlines]\nconnect_s = nan\n",
            "[deadlines]\nconnect_s = inf\n",
            "[providers.a]\nfirst_token_s = 0\n",
            "[routing]\nmax_attempts = 0\n",
            "[routing]\nexpected_output_tokens = -5\n",
            "[limits]\nin_flight_per_worker = 0\n",
            "[limits]\nbody_bytes = 0\n",
        ],
    )
    def test_a_number_that_would_stop_everything_is_refused(self, here: Path, text: str) -> None:
        assert f"{here}/tollway.toml:2: " in complaint(here, text)


class TestAMistakeInTheEnvironment:
    def test_an_unknown_variable_of_ours_names_the_nearest(self, here: Path) -> None:
        with pytest.raises(SettingsError, match="TOLLWAY_PROT is not known; did you mean TOLLWAY"):
            load(here, TOLLWAY_PROT="1")

    def test_variables_of_others_are_none_of_our_business(self, here: Path) -> None:
        assert load(here, PROT="1", OPENAI_API_KEY="x").port == 8080

    @pytest.mark.parametrize("value", ["http", "80.5", "0x50"])
    def test_a_port_that_is_no_number_is_named(self, here: Path, value: str) -> None:
        with pytest.raises(SettingsError, match=r"TOLLWAY_PORT is .*expected a whole number"):
            load(here, TOLLWAY_PORT=value)

    def test_a_port_out_of_range_names_its_source(self, here: Path) -> None:
        with pytest.raises(SettingsError, match="environment: TOLLWAY_PORT is 70000"):
            load(here, TOLLWAY_PORT="70000")
        with pytest.raises(SettingsError, match="--admin-port is 70000"):
            load(here, Flags(admin_port=70_000))

    def test_no_workers_are_refused(self, here: Path) -> None:
        with pytest.raises(SettingsError, match="expected 1 to 128"):
            load(here, TOLLWAY_WORKERS="0")


class TestSecrets:
    def test_are_read_from_where_the_reference_points(self, here: Path) -> None:
        path = write(here, f"{SECRET}\n", "secret")

        assert read_secret("x", "env:NAME", {"NAME": f" {SECRET} "}) == SECRET
        assert read_secret("x", f"file:{path}", {}) == SECRET

    @pytest.mark.parametrize(
        ("reference", "words"),
        [
            ("env:MISSING", ["providers.a.api_key", "MISSING", "not set"]),
            ("env:EMPTY", ["EMPTY", "not set"]),
            ("env:", ["env:NAME or file:PATH"]),
            ("file:/nowhere/secret", ["/nowhere/secret", "No such file"]),
            ("file:", ["env:NAME or file:PATH"]),
        ],
    )
    def test_that_cannot_be_found_are_named(self, reference: str, words: list[str]) -> None:
        with pytest.raises(SettingsError) as caught:
            read_secret("providers.a.api_key", reference, {"EMPTY": "  "})
        for word in words:
            assert word in str(caught.value)

    def test_in_a_file_that_is_empty_or_no_text_are_missing(self, here: Path) -> None:
        empty = write(here, "\n", "empty")
        with pytest.raises(SettingsError, match="empty"):
            read_secret("x", f"file:{empty}", {})
        binary = here / "binary"
        binary.write_bytes(b"\xff\xfe")
        with pytest.raises(SettingsError, match="UTF-8"):
            read_secret("x", f"file:{binary}", {})

    def test_written_out_are_refused_without_being_shown(self) -> None:
        with pytest.raises(SettingsError) as caught:
            read_secret("providers.a.api_key", SECRET, {})

        assert SECRET not in str(caught.value)
        assert "env:NAME or file:PATH, never the secret itself" in str(caught.value)

    def test_an_address_of_the_database_may_be_a_reference(self, here: Path) -> None:
        write(here, 'database_url = "env:DB"\n')

        assert load(here, DB="postgresql://u:p@h/d").database_url == "postgresql://u:p@h/d"
        with pytest.raises(SettingsError, match=r"database_url: .* DB is not set"):
            load(here)

    def test_are_not_printed_with_the_settings(self, here: Path) -> None:
        settings = load(
            here,
            TOLLWAY_DATABASE_URL=f"postgresql://u:{SECRET}@h/d",
            TOLLWAY_SECRET=SECRET,
            OPENAI_API_KEY=SECRET,
        )

        assert settings.secret == SECRET
        assert SECRET not in f"{settings} {settings!r}"


def test_the_example_file_is_read_without_a_complaint(here: Path) -> None:
    example = Path(__file__).parents[2] / "deploy" / "tollway.example.toml"
    assert load(here, Flags(config=example)).config_path == example
