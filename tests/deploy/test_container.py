"""The image, the composition and the unit, as far as they can be judged without running them."""

import configparser
import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from gateway.settings.load import load_settings
from gateway.settings.values import DeadlineSettings, Flags
from pricing.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# What a worker may need after its drain, to ship and to close.
AFTER_DRAIN_S = 20.0


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, continued lines joined."""

    name: str
    value: str


def read_dockerfile() -> list[Instruction]:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        Instruction(name.upper(), value)
        for name, _, value in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def read_compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.fixture(name="dockerfile")
def read_instructions() -> list[Instruction]:
    return read_dockerfile()


@pytest.fixture(name="services")
def read_services() -> dict[str, Any]:
    return read_compose()["services"]


def test_the_image_runs_as_an_ordinary_user(dockerfile: list[Instruction]) -> None:
    last_stage = max(i for i, instruction in enumerate(dockerfile) if instruction.name == "FROM")

    users = [value for name, value in dockerfile[last_stage:] if name == "USER"]

    assert users
    assert users[-1].partition(":")[0] not in {"", "0", "root"}


def test_dependencies_come_from_the_hashed_lock_and_the_code_from_here(
    dockerfile: list[Instruction],
) -> None:
    installs = [
        command.strip()
        for name, value in dockerfile
        if name == "RUN"
        for command in value.split("&&")
        if re.search(r"\bpip\b.*\b(install|wheel)\b", command)
    ]

    locked = [command for command in installs if "-r requirements.lock" in command]
    assert len(locked) == 1
    assert "--require-hashes" in locked[0]
    for command in set(installs) - set(locked):
        assert "--no-deps" in command
        assert "--no-index" in command


def test_nothing_is_fetched_by_address(dockerfile: list[Instruction]) -> None:
    assert not [value for name, value in dockerfile if name == "ADD"]
    assert not [value for _, value in dockerfile if "://" in value and "127.0.0.1" not in value]


def test_what_is_copied_exists_and_is_in_the_build_context(dockerfile: list[Instruction]) -> None:
    sources = [
        source
        for name, value in dockerfile
        if name == "COPY" and "--from=" not in value
        for source in value.split()[:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]

    assert "*" in ignored
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), source
    for package in ("gateway", "pricing", "dashboard", "migrations"):
        assert package in sources


def test_the_data_directory_outlives_the_container(dockerfile: list[Instruction]) -> None:
    settings = " ".join(value for name, value in dockerfile if name == "ENV")
    data_dir = re.search(r"TOLLWAY_DATA_DIR=(\S+)", settings)

    assert data_dir
    assert ("VOLUME", data_dir[1]) in dockerfile


def test_the_image_starts_the_gateway_for_everybody(dockerfile: list[Instruction]) -> None:
    assert ("ENTRYPOINT", '["tollway"]') in dockerfile
    assert ("CMD", '["serve", "--host", "0.0.0.0"]') in dockerfile
    assert [name for name, _ in dockerfile].count("HEALTHCHECK") == 1


def test_passwords_have_no_default(services: dict[str, Any]) -> None:
    text = (DEPLOY / "compose.yaml").read_text()

    for found in re.finditer(r"\$\{(\w*PASSWORD\w*)([^}]*)\}", text):
        assert found[2] == "" or found[2].startswith(":?"), found[0]
    assert "${POSTGRES_PASSWORD:?" in services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert "${GATEWAY_DB_PASSWORD:?" in services["postgres"]["environment"]["GATEWAY_DB_PASSWORD"]


def test_every_variable_of_the_composition_is_explained() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    explained = (DEPLOY / "compose.env.example").read_text()

    for name in set(re.findall(r"\$\{(\w+)", text)):
        assert re.search(rf"^(# )?{name}=", explained, re.MULTILINE), name
        # It would be refused as unknown by a `tollway` that is started beside the file.
        assert not name.startswith("TOLLWAY_")


def test_only_the_gateway_is_published_beyond_a_choice_of_the_operator(
    services: dict[str, Any],
) -> None:
    published = {name: service.get("ports", []) for name, service in services.items()}

    assert published["gateway"] == ["${GATEWAY_PUBLISHED:-127.0.0.1:8080}:8080"]
    assert all(port.startswith("127.0.0.1:") for port in published["postgres"])
    assert not published["dashboard"]
    assert services["dashboard"]["network_mode"] == "host"
    assert "8081" not in re.sub(r"#.*", "", (DEPLOY / "compose.yaml").read_text())


def test_services_of_ours_are_confined(services: dict[str, Any]) -> None:
    for name in ("gateway", "dashboard"):
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "data:/var/lib/tollway" in service["volumes"]


def test_volumes_and_files_of_the_composition_exist(services: dict[str, Any]) -> None:
    named = read_compose()["volumes"]

    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file()
            else:
                assert source in named


def test_settings_given_by_the_composition_are_known(services: dict[str, Any]) -> None:
    for name in ("gateway", "dashboard"):
        given: dict[str, str | None] = services[name]["environment"]
        ours = {key: "1" for key in given if key.startswith("TOLLWAY_")}
        load_settings(Flags(), environment=ours | {"TOLLWAY_DATABASE_URL": "postgresql://x/y"})


def test_credentials_handed_through_belong_to_providers(services: dict[str, Any]) -> None:
    providers = load_catalogue().providers.values()
    known = {provider.credential_env for provider in providers} | {
        provider.base_url_env for provider in providers
    }

    given: dict[str, str | None] = services["gateway"]["environment"]
    handed = {key for key, value in given.items() if value is None}

    assert "OPENAI_API_KEY" in handed
    assert handed <= known


def test_nobody_is_killed_while_draining(services: dict[str, Any]) -> None:
    deadlines = DeadlineSettings()
    needed_s = deadlines.drain_listen_s + deadlines.drain_streams_s + AFTER_DRAIN_S

    assert seconds(services["gateway"]["stop_grace_period"]) >= needed_s
    assert seconds(read_unit()["Service"]["TimeoutStopSec"]) >= needed_s


class Unit(configparser.ConfigParser):
    """A unit of systemd; the case of its keys matters."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read_unit() -> Unit:
    unit = Unit(strict=False, interpolation=None)
    unit.read(DEPLOY / "tollway.service")
    return unit


def test_the_unit_sends_one_signal_and_keeps_its_state() -> None:
    service = read_unit()["Service"]

    # SIGTERM to every process would reach the workers twice, which means "at once" to them.
    assert service["KillMode"] == "mixed"
    assert service["StateDirectory"] == "tollway"
    assert service["User"] != "root"
    assert shlex.split(service["ExecStart"])[1] == "serve"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    command = tmp_path / "tollway"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    unit = tmp_path / "tollway.service"
    text = (DEPLOY / "tollway.service").read_text()
    unit.write_text(text.replace("/opt/tollway/.venv/bin/tollway", str(command)))

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    # Other units of this machine may be complained about; ours may not.
    said = [line for line in verified.stderr.splitlines() if "tollway" in line]
    assert not said
