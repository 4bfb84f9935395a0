"""``tollway users``: the people who may sign in to the dashboard and the admin API."""

import getpass
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from cyclopts import App

from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.domain.principal import Role
from gateway.domain.wishes import WishError
from gateway.storage.engine import Connection
from gateway.storage.passwords import LONGEST, check_name, check_password, hash_password
from gateway.storage.users import (
    StoredUser,
    create_user,
    list_users,
    revoke_user,
    set_password,
    set_role,
)

T = TypeVar("T")
users = App(name="users", help="Make, list, change and revoke those who may sign in.")
_ACTOR = "command line"


@users.command
def create(
    name: str,
    /,
    *,
    role: Role,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a user; the password is asked for, or is the first line of standard input.

    Args:
        name: a-z, 0-9 and . _ @ + -
        role: an auditor reads; an operator also changes prices, rules and budgets; an owner all.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    try:
        check_name(name)
    except WishError as exc:
        raise CommandError(str(exc)) from exc
    hashed = _hashed_password(name)
    made = _ask(
        config,
        data_dir,
        lambda c: create_user(
            c, name=name, role=role, password_hash=hashed, at=datetime.now(UTC), actor=_ACTOR
        ),
        quiet=as_json,
    )
    _tell(made, f"{made.name} may sign in now, as {made.role}.", as_json=as_json)


@users.command(name="list")
def show(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all users, revoked ones included."""
    found = _ask(config, data_dir, list_users, quiet=as_json)
    if as_json:
        print_json(found)
        return
    print_table(
        ["name", "role", "state", "made", "by", "last sign-in"],
        [
            (
                user.name,
                user.role,
                "revoked" if user.revoked_at is not None else "valid",
                f"{user.created_at:%Y-%m-%d %H:%M} UTC",
                user.created_by,
                user.last_sign_in_at and f"{user.last_sign_in_at:%Y-%m-%d %H:%M} UTC",
            )
            for user in found
        ],
    )


@users.command
def revoke(
    name: str, /, *, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Keep a user out for good; their sessions end at once.

    Args:
        name: of the user.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    revoked = _ask(
        config,
        data_dir,
        lambda c: revoke_user(c, name, at=datetime.now(UTC), actor=_ACTOR),
        quiet=as_json,
    )
    _tell(_found(revoked, name), f"Revoked {name}.", as_json=as_json)


@users.command
def role(
    name: str,
    new_role: Role,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give a user another role; it holds for their open sessions too.

    Args:
        name: of the user.
        new_role: owner, operator or auditor.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    changed = _ask(
        config,
        data_dir,
        lambda c: set_role(c, name, new_role, at=datetime.now(UTC), actor=_ACTOR),
        quiet=as_json,
    )
    _tell(_found(changed, name), f"{name} is {new_role} now.", as_json=as_json)


@users.command
def password(
    name: str, /, *, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Give a user another password, asked for or read from standard input; their sessions end.

    Args:
        name: of the user.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    hashed = _hashed_password(name)
    changed = _ask(
        config,
        data_dir,
        lambda c: set_password(c, name, hashed, at=datetime.now(UTC), actor=_ACTOR),
        quiet=as_json,
    )
    _tell(_found(changed, name), f"{name} has a new password; all sessions ended.", as_json=as_json)


def _hashed_password(name: str) -> str:
    text = _read_password()
    try:
        check_password(text, name=name)
    except WishError as exc:
        raise CommandError(str(exc)) from exc
    return hash_password(text)


def _read_password() -> str:
    """From the terminal, twice, or a line of standard input; never an argument, which others see.

    Raises:
        CommandError: none was given, or two different ones.
    """
    if not sys.stdin.isatty():
        line = sys.stdin.readline(LONGEST + 2).rstrip("\r\n")
        if not line:
            raise CommandError("no password: write it on the first line of standard input")
        return line
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        raise CommandError("the two passwords differ; nothing was changed")
    return first


def _ask(
    config: Config,
    data_dir: DataDir,
    work: Callable[[Connection], Awaitable[T]],
    *,
    quiet: bool,
) -> T:
    with Database(settings_of(config, data_dir), quiet=quiet) as database:
        bring_up_to_date(database.url)
        try:
            return ask(database.url, work)
        except WishError as exc:
            raise CommandError(str(exc)) from exc


def _found(user: StoredUser | None, name: str) -> StoredUser:
    if user is None:
        raise CommandError(f"there is no user {name!r}; 'tollway users list' shows them")
    return user


def _tell(user: StoredUser, words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(user)
    else:
        say(words)
