"""Environment, ``tollway.toml`` and flags become one frozen value, read once and passed down.

Flags beat the environment, the environment beats the file, the file beats the defaults.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from gateway.settings.values import FileSettings, Flags, ProviderSettings, Settings

CONFIG_NAME = "tollway.toml"
DATA_DIR_NAME = ".tollway"
_ENV_PREFIX = "TOLLWAY_"
_ENV_NAMES = frozenset(
    {
        # What `tollway up` tells clients to call with; the gateway itself has no use for it.
        "TOLLWAY_API_KEY",
        "TOLLWAY_CONFIG",
        "TOLLWAY_DATA_DIR",
        "TOLLWAY_DATABASE_URL",
        "TOLLWAY_TEST_DATABASE_URL",
        "TOLLWAY_HOST",
        "TOLLWAY_PORT",
        "TOLLWAY_ADMIN_PORT",
        "TOLLWAY_DASHBOARD_HOST",
        "TOLLWAY_DASHBOARD_PORT",
        "TOLLWAY_WORKERS",
        "TOLLWAY_SECRET",
        "TOLLWAY_RULES",
        "TOLLWAY_SIMULATED_URL",
    }
)
_MAX_PORT = 65_535


class SettingsError(Exception):
    """The configuration is wrong; the message names the place, the key and the remedy."""


def load_settings(
    flags: Flags | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Read and join all sources.

    Args:
        flags: from the command line.
        environment: None reads the process's own.
        directory: where ``tollway.toml`` is looked for when none is named; None: here.

    Raises:
        SettingsError: something is wrong; the message says where and what to do.
    """
    flags = flags or Flags()
    env = dict(os.environ if environment is None else environment)
    _refuse_unknown_names(env)
    config_path = _find_config(flags, env, directory or Path.cwd())
    file = _read_file(config_path) if config_path else FileSettings()
    base = config_path.parent if config_path else (directory or Path.cwd())
    data_dir = flags.data_dir or _path(env.get("TOLLWAY_DATA_DIR")) or _path(file.data_dir)
    database_url = env.get("TOLLWAY_DATABASE_URL") or file.database_url
    return Settings(
        config_path=config_path,
        data_dir=(base / (data_dir or DATA_DIR_NAME)).resolve(),
        database_url=_secret("database_url", database_url, env) if database_url else None,
        host=flags.host or env.get("TOLLWAY_HOST") or file.host or "127.0.0.1",
        port=_port("port", flags.port, env, file.port, 8080),
        admin_port=_port("admin_port", flags.admin_port, env, file.admin_port, 8081),
        dashboard_port=_port(
            "dashboard_port", flags.dashboard_port, env, file.dashboard_port, 8501
        ),
        dashboard_host=env.get("TOLLWAY_DASHBOARD_HOST") or file.dashboard_host or "127.0.0.1",
        dashboard_sign_in=file.dashboard_sign_in,
        workers=_number("workers", flags.workers, env, file.workers, 1, lowest=1, highest=128),
        secret=env.get("TOLLWAY_SECRET"),
        rules_path=_rules_path(env.get("TOLLWAY_RULES"), file.rules, base),
        providers=file.providers,
        aliases=file.aliases,
        routing=file.routing,
        deadlines=file.deadlines,
        breaker=file.breaker,
        retention=file.retention,
        limits=file.limits,
        budgets=file.budgets,
        media=file.media,
        webhooks=file.webhooks,
        cors=file.cors,
        metrics=file.metrics,
        savings=file.savings,
        environment=env,
    )


def read_secret(name: str, reference: str, environment: Mapping[str, str]) -> str:
    """The secret behind ``env:NAME`` or ``file:PATH``.

    Raises:
        SettingsError: it is neither, or what it points to is missing; the value is never shown.
    """
    kind, _, where = reference.partition(":")
    if kind == "env" and where:
        value = environment.get(where, "").strip()
        if not value:
            raise SettingsError(f"{name}: the environment variable {where} is not set")
        return value
    if kind == "file" and where:
        try:
            value = Path(where).expanduser().read_text("utf-8").strip()
        except OSError as exc:
            raise SettingsError(f"{name}: cannot read {where}: {exc.strerror}") from exc
        except UnicodeDecodeError:
            # Not chained: the exception holds the bytes.
            raise SettingsError(f"{name}: {where} is not UTF-8 text") from None
        if not value:
            raise SettingsError(f"{name}: {where} is empty")
        return value
    raise SettingsError(f"{name}: write env:NAME or file:PATH, never the secret itself")


def _secret(name: str, reference: str, environment: Mapping[str, str]) -> str:
    if reference.startswith(("env:", "file:")):
        return read_secret(name, reference, environment)
    return reference


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _rules_path(env: str | None, file: str | None, base: Path) -> Path | None:
    """The environment's path begins here, that of the file beside the file."""
    if env:
        return Path(env).expanduser().absolute()
    return (base / Path(file).expanduser()).absolute() if file else None


def _find_config(flags: Flags, env: Mapping[str, str], directory: Path) -> Path | None:
    named = flags.config or _path(env.get("TOLLWAY_CONFIG"))
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"{named}: no such configuration file")
        return named.resolve()
    found = directory / CONFIG_NAME
    return found.resolve() if found.is_file() else None


def _refuse_unknown_names(env: Mapping[str, str]) -> None:
    for name in env:
        if name.startswith(_ENV_PREFIX) and name not in _ENV_NAMES:
            raise SettingsError(
                f"environment: {name} is not known{_nearest(name, sorted(_ENV_NAMES))}"
            )


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _number(
    name: str,
    flag: int | None,
    env: Mapping[str, str],
    file: int | None,
    default: int,
    *,
    lowest: int,
    highest: int,
) -> int:
    env_name = _ENV_PREFIX + name.upper()
    text = env.get(env_name)
    value, source = default, name
    if flag is not None:
        value, source = flag, f"--{name.replace('_', '-')}"
    elif text:
        source = f"environment: {env_name}"
        try:
            value = int(text)
        except ValueError:
            raise SettingsError(f"{source} is {text!r}; expected a whole number") from None
    elif file is not None:
        value = file
    if not lowest <= value <= highest:
        raise SettingsError(f"{source} is {value}; expected {lowest} to {highest}")
    return value


def _port(
    name: str, flag: int | None, env: Mapping[str, str], file: int | None, default: int
) -> int:
    return _number(name, flag, env, file, default, lowest=0, highest=_MAX_PORT)


def _read_file(path: Path) -> FileSettings:
    try:
        text = path.read_text("utf-8")
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path}: is not UTF-8 (byte {exc.start})") from exc
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"{path}: not valid TOML: {exc}") from exc
    try:
        # Lax, so that whole numbers and decimals may stand for seconds.
        return msgspec.convert(_floats(table), FileSettings)
    except msgspec.ValidationError as exc:
        raise SettingsError(_explained(path, text, table, str(exc))) from exc


def _floats(table: dict[str, Any]) -> dict[str, Any]:
    """Decimals become floats outside endpoints, whose prices must stay exact."""

    def walk(value: object, key: str) -> object:
        if key == "endpoints":
            return value
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            return {name: walk(member, name) for name, member in members.items()}
        return float(value) if isinstance(value, Decimal) else value

    return cast("dict[str, Any]", walk(table, ""))


_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]+)`")
_INDEX = re.compile(r"\[[^\]]*\]")
_HEADER = re.compile(r"\s*\[+(?P<name>[^\]]+)\]")
_ASSIGNED = re.compile(r"(?P<name>[^=#\[]+)=")


def _explained(path: Path, text: str, table: dict[str, Any], message: str) -> str:
    """A validation message with line, key and, for an unknown key, the nearest known one."""
    place = _AT.search(message)
    where = _named(place["path"], table) if place else ""
    said = _AT.sub("", message)
    unknown = _UNKNOWN.search(said)
    key = where
    if unknown:
        key = f"{where}.{unknown['name']}" if where else unknown["name"]
        said = f"`{unknown['name']}` is not known{_nearest(unknown['name'], _known_keys(where))}"
    line = _line_of(text, key)
    spot = f"{path}:{line}" if line else str(path)
    return f"{spot}: {where + ': ' if where else ''}{said}"


def _named(where: str, table: dict[str, Any]) -> str:
    """The place with the name that msgspec leaves out, that of the first wrong member."""
    head, gap, rest = where.partition("[...]")
    if not gap:
        return where
    kind = ProviderSettings if head == "providers" else str
    for name, member in _floats(table.get(head, {})).items():
        try:
            msgspec.convert(member, kind)
        except msgspec.ValidationError:
            return f"{head}.{name}{rest}"
    return where


def _line_of(text: str, key: str) -> int | None:
    """The line of a dotted key, or else of the innermost table that holds it."""
    wanted = _INDEX.sub("", key)
    table, found, depth = "", None, 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        assigned = None if header else _ASSIGNED.match(line)
        if header:
            table = path = _unquoted(header["name"])
        elif assigned:
            name = _unquoted(assigned["name"])
            path = f"{table}.{name}" if table else name
        else:
            continue
        if path == wanted or path.startswith(f"{wanted}."):
            return number
        if wanted.startswith(f"{path}.") and len(path) > depth:
            found, depth = number, len(path)
    return found


def _unquoted(name: str) -> str:
    return re.sub(r"[\s\"']", "", name)


def _known_keys(where: str) -> list[str]:
    struct: Any = FileSettings
    for part in [part for part in where.split(".") if part]:
        if part.startswith(("[", "providers")):
            struct = ProviderSettings
            continue
        hints: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(struct)}
        kind = hints.get(part)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            struct = kind
        else:
            nested = [arg for arg in get_args(kind) if isinstance(arg, type)]
            struct = next((arg for arg in nested if issubclass(arg, msgspec.Struct)), struct)
    return [field.name for field in msgspec.structs.fields(struct)]
