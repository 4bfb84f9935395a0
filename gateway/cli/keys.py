"""``tollway keys``: make, list, change and revoke the keys that clients call with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from gateway.cli.database import Database, ask
from gateway.cli.keys_change import PINS, Slash, change, labels_of
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.domain.wishes import WishError
from gateway.processes.data_directory import DataDirectory
from gateway.storage.key_issue import KeyWish, issue_key, reissue_key
from gateway.storage.keys import StoredKey, last_uses, list_keys, revoke_key

keys = App(name="keys", help="Make, list, change and revoke API keys.")
_ACTOR = "command line"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DIGITS = 7
keys.command(change)


@keys.command
def create(
    name: str,
    /,
    *,
    label: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    allow_model: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    allow_provider: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    default_model: str | None = None,
    slash: Slash = "default",
    provider_configs_origin: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    expires_at: datetime | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; its text is shown once and kept nowhere.

    Args:
        name: what it is for.
        label: name=value, as team=search; may be repeated.
        allow_model: a model or a pattern with *; may be repeated; default: every model.
        allow_provider: may be repeated; default: every enabled provider.
        default_model: serves requests that name none.
        slash: what a/b means in a model's name: pins the provider a, names a model, or what the
            installation says.
        provider_configs_origin: where requests may be sent with credentials of their own, as
            https://api.example.com; may be repeated; default: nowhere.
        rpm: requests a minute, on each node; default: no limit.
        tpm: tokens a minute, on each node; default: no limit.
        concurrency: requests that may be open at once, on each node; default: no limit.
        expires_at: as 2027-01-31T00:00:00Z; default: never.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    if expires_at is not None and expires_at.tzinfo is None:
        expires_at = expires_at.replace(tzinfo=UTC)
    wish = KeyWish(
        name=name,
        labels=labels_of(label),
        allowed_models=allow_model,
        allowed_providers=allow_provider,
        default_model=default_model,
        slash_pins_provider=PINS[slash],
        provider_configs_origins=provider_configs_origin,
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
        concurrency=concurrency,
        expires_at=expires_at,
    )
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    pepper = directory.pepper(settings.secret)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        try:
            stored, text = ask(
                database.url, lambda c: issue_key(c, wish, pepper=pepper, actor=_ACTOR)
            )
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
    if as_json:
        print_json({"key": stored, "text": text})
    else:
        say(f"{text}")
        say(f"Shown once; keep it. It is listed as {stored.kid}, and works within a second.")


@keys.command(name="list")
def show(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all keys, revoked and expired ones included."""
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        found = ask(database.url, list_keys)
        used = ask(database.url, last_uses)
    if as_json:
        print_json([_with_use(key, used.get(key.id)) for key in found])
        return
    now = datetime.now(UTC)
    print_table(
        ["id", "name", "ends in", "state", "labels", "made", "last used"],
        [
            (
                key.kid,
                key.name,
                f"…{key.last4}",
                _state(key, now),
                " ".join(f"{name}={value}" for name, value in sorted(key.labels.items())) or None,
                f"{key.created_at:%Y-%m-%d %H:%M} UTC",
                f"{used[key.id]:%Y-%m-%d %H:%M} UTC" if key.id in used else None,
            )
            for key in found
        ],
    )


@keys.command
def rotate(
    kid: str,
    /,
    *,
    overlap: str = "24h",
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give a key another secret, shown once; the old one works on for a while.

    Args:
        kid: its id, as 'tollway keys list' shows it.
        overlap: how long the old secret works on, as 30m, 24h or 7d; 0s ends it at once.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    lasts = _duration(overlap)
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    pepper = directory.pepper(settings.secret)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        try:
            found = ask(
                database.url,
                lambda c: reissue_key(c, kid, overlap=lasts, pepper=pepper, actor=_ACTOR),
            )
        except WishError as exc:
            raise CommandError(str(exc)) from exc
    if found is None:
        raise CommandError(f"there is no key {kid!r}; 'tollway keys list' shows them")
    stored, text = found
    if as_json:
        print_json({"key": stored, "text": text})
    else:
        say(f"{text}")
        say(f"Shown once; keep it. The old secret of {kid} works for another {overlap}.")


@keys.command
def revoke(
    kid: str,
    /,
    *,
    kill: Annotated[bool, Parameter(negative="")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key for good; running gateways refuse it within a second.

    Args:
        kid: its id, as 'tollway keys list' shows it.
        kill: end its open requests, too, instead of letting them finish.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        at = datetime.now(UTC)
        revoked = ask(
            database.url,
            lambda c: revoke_key(c, kid, at=at, actor=_ACTOR, ends_requests=kill),
        )
    if revoked is None:
        raise CommandError(f"there is no key {kid!r}; 'tollway keys list' shows them")
    if as_json:
        print_json(revoked)
    else:
        say(f"Revoked {kid} ({revoked.name}).")


def _with_use(key: StoredKey, last_used_at: datetime | None) -> dict[str, object]:
    return {**msgspec.structs.asdict(key), "last_used_at": last_used_at}


def _duration(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if (
        unit not in _UNITS
        or not number.isascii()
        or not number.isdecimal()
        or len(number) > _DIGITS
    ):
        raise CommandError(f"--overlap {text}: write it as 30m, 24h or 7d")
    return timedelta(seconds=int(number) * _UNITS[unit])


def _state(key: StoredKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "valid"
