"""``tollway keys change``: what a key may do, and until when, after it was made."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.domain.wishes import WishError
from gateway.storage.engine import Connection
from gateway.storage.key_changes import KeyChange, change_key, find_key
from gateway.storage.keys import StoredKey

Slash = Literal["pins", "names", "default"]
PINS: dict[Slash, bool | None] = {"pins": True, "names": False, "default": None}
"""What ``a/b`` means to a key: provider ``a`` where it serves ``b``, always a model, or what the
installation says."""

_ACTOR = "command line"
_NONE, _NEVER, _ALL, _NOWHERE = "none", "never", "all", "nowhere"
_LABEL = "labels are written name=value"
_MANY = Parameter(negative="")


def change(
    kid: str,
    /,
    *,
    name: str | None = None,
    label: Annotated[tuple[str, ...], _MANY] = (),
    remove_label: Annotated[tuple[str, ...], _MANY] = (),
    allow_model: Annotated[tuple[str, ...], _MANY] = (),
    allow_provider: Annotated[tuple[str, ...], _MANY] = (),
    default_model: str | None = None,
    slash: Slash | None = None,
    provider_configs_origin: Annotated[tuple[str, ...], _MANY] = (),
    rpm: str | None = None,
    tpm: str | None = None,
    concurrency: str | None = None,
    expires_at: str | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change what a key may do; what is not given stays. Running gateways follow within a second.

    Its id and its secret stay ('tollway keys rotate' gives it another one); a revoked key cannot be
    changed.

    Args:
        kid: its id, as 'tollway keys list' shows it.
        name: what it is for.
        label: name=value, added or put in place of the one of that name; may be repeated.
        remove_label: the name of a label that it should not have; may be repeated.
        allow_model: a model or a pattern with *, in place of those it had; may be repeated; all
            allows every model.
        allow_provider: in place of those it had; may be repeated; all allows every enabled one.
        default_model: serves requests that name none; none takes it away.
        slash: what a/b means in a model's name: pins the provider a, names a model, or default.
        provider_configs_origin: where requests may be sent with credentials of their own, in place
            of what it had; may be repeated; nowhere refuses them.
        rpm: requests a minute, on each node; none is no limit.
        tpm: tokens a minute, on each node; none is no limit.
        concurrency: requests that may be open at once, on each node; none is no limit.
        expires_at: as 2027-01-31T00:00:00Z, or never; an expired key works again.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    wanted: dict[str, Any] = {
        "name": name,
        "allowed_models": _listed(allow_model, _ALL),
        "allowed_providers": _listed(allow_provider, _ALL),
        "provider_configs_origins": _listed(provider_configs_origin, _NOWHERE),
    }
    wanted = {field: value for field, value in wanted.items() if value is not None}
    if default_model is not None:
        wanted["default_model"] = None if default_model == _NONE else default_model
    if slash is not None:
        wanted["slash_pins_provider"] = PINS[slash]
    for option, field, text in (
        ("--rpm", "requests_per_minute", rpm),
        ("--tpm", "tokens_per_minute", tpm),
        ("--concurrency", "concurrency", concurrency),
    ):
        if text is not None:
            wanted[field] = _limit(option, text)
    if expires_at is not None:
        wanted["expires_at"] = _end(expires_at)
    added = labels_of(label)
    if not wanted and not added and not remove_label:
        raise CommandError(
            "say what to change, as --rpm 600; 'tollway keys change --help' lists it"
        )

    async def work(connection: Connection) -> StoredKey | None:
        found = await find_key(connection, kid)
        if found is None:
            return None
        what = dict(wanted)
        if added or remove_label:
            kept = {one: of for one, of in found.labels.items() if one not in remove_label}
            what["labels"] = kept | added
        return await change_key(
            connection, kid, KeyChange(**what), at=datetime.now(UTC), actor=_ACTOR
        )

    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        try:
            changed = ask(database.url, work)
        except WishError as exc:
            raise CommandError(str(exc)) from exc
    if changed is None:
        raise CommandError(f"there is no key {kid!r}; 'tollway keys list' shows them")
    if as_json:
        print_json(changed)
        return
    print_table(["", changed.name], _rows(changed))
    say("Running gateways follow within a second.")


def labels_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """Labels as they are written on the command line.

    Raises:
        CommandError: one is no pair.
    """
    labels: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--label {pair}: {_LABEL}")
        labels[name] = value
    return labels


def _listed(given: tuple[str, ...], word: str) -> tuple[str, ...] | None:
    """None where nothing is said; the word alone empties a list."""
    if not given:
        return None
    return () if given == (word,) else given


def _limit(option: str, text: str) -> int | None:
    if text == _NONE:
        return None
    if not text.isascii() or not text.isdecimal():
        raise CommandError(f"{option} {text}: give a number, or none")
    return int(text)


def _end(text: str) -> datetime | None:
    if text == _NEVER:
        return None
    try:
        at = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise CommandError(
            f"--expires-at {text}: write it as 2027-01-31T00:00:00Z, or never"
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _rows(key: StoredKey) -> list[tuple[str, object]]:
    ends = _NEVER if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M} UTC"
    slash = next(word for word, pins in PINS.items() if pins is key.slash_pins_provider)
    return [
        ("labels", " ".join(f"{one}={of}" for one, of in sorted(key.labels.items())) or None),
        ("models", " ".join(key.allowed_models) or _ALL),
        ("providers", " ".join(key.allowed_providers) or _ALL),
        ("default model", key.default_model),
        ("a/b in a model's name", slash),
        ("credentials of requests go to", " ".join(key.provider_configs_origins) or _NOWHERE),
        ("requests a minute", key.requests_per_minute),
        ("tokens a minute", key.tokens_per_minute),
        ("open at once", key.concurrency),
        ("works until", ends),
    ]
