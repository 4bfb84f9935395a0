"""Start PostgreSQL's programs under the supervisor, unprivileged and in a clean environment."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import msgspec

SUPERVISOR = Path(__file__).with_name("pg_supervisor.py")
CLEAN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
UNPRIVILEGED_USER = "nobody"


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be run; the message has cause and remedy, and no secret."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the programs run as; both None when that is simply whoever started Tollway."""

    uid: int | None
    gid: int | None


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program to run in the cluster's directory.

    ``server_lock_fd`` is locked by the caller and stays open in the program, so that the lock
    lasts as long as any of its processes; ``users_lock`` is the file whose shared locks keep it
    alive.
    """

    argv: tuple[str, ...]
    directory: Path
    account: Account
    users_lock: Path
    server_lock_fd: int

    def command(self) -> list[str]:
        spec = {
            "argv": self.argv,
            "cwd": str(self.directory),
            "env": CLEAN_ENVIRONMENT,
            "uid": self.account.uid,
            "gid": self.account.gid,
            "users_lock": str(self.users_lock),
            "server_lock_fd": self.server_lock_fd,
        }
        return [sys.executable, "-I", "-S", str(SUPERVISOR), json.dumps(spec)]


def choose_account() -> Account:
    """Who may run PostgreSQL, which refuses to run as root.

    Raises:
        EmbeddedPostgresError: the user has no entry in the user database (initdb insists on one).
    """
    if os.geteuid() == 0:
        try:
            nobody = pwd.getpwnam(UNPRIVILEGED_USER)
        except KeyError:
            raise EmbeddedPostgresError(
                f"PostgreSQL refuses to run as root and there is no user {UNPRIVILEGED_USER!r} to "
                "run it as; start Tollway as an ordinary user, or set TOLLWAY_DATABASE_URL"
            ) from None
        return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedPostgresError(
            f"user id {os.geteuid()} has no entry in /etc/passwd, which PostgreSQL's initdb needs; "
            "run as a user that has one, or set TOLLWAY_DATABASE_URL"
        ) from None
    return Account(uid=None, gid=None)


def run_to_end(
    program: Program, *, stdin: str = "", timeout_s: float = 300.0
) -> subprocess.CompletedProcess[str]:
    """Run a program that ends by itself; stdout and stderr come back together in ``stdout``.

    Raises:
        EmbeddedPostgresError: it did not end in time.
    """
    try:
        return subprocess.run(  # noqa: S603 - our own script and the wheel's binaries
            program.command(),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            pass_fds=(program.server_lock_fd,),
            env=_supervisor_environment(),
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedPostgresError(
            f"{program.argv[0]} took longer than {timeout_s:.0f} s on {program.directory}; "
            "is the disk that slow? TOLLWAY_DATA_DIR may name another"
        ) from None


def spawn(program: Program, *, output: Path) -> int:
    """Start a server and return its supervisor's pid.

    It has a session of its own: Ctrl-C at our terminal does not reach it.
    """
    # Not Popen: the supervisor may rightly outlive us, of which Popen would complain.
    command = program.command()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    return os.posix_spawn(
        command[0],
        command,
        _supervisor_environment(),
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, program.server_lock_fd, program.server_lock_fd),
        ],
    )


def _supervisor_environment() -> dict[str, str]:
    # No credential reaches it; a Python built with shared libraries may need to be told where
    # they are.
    return {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
