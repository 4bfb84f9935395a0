"""Make a PostgreSQL cluster for one Tollway: its files, its roles and who may log in."""

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.storage.pg_binaries import Install
from gateway.storage.pg_process import Account, EmbeddedPostgresError, Program, run_to_end

DATABASE = "tollway"
OWNER = "tollway_owner"
ADMIN = "tollway_admin"
"""The superuser: it has no password and nobody can log in as it."""

PORT = 5432
"""Only part of the socket's file name: the server listens on no network address."""

LOG_FILES_KEPT = 5

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    # Relative to the cluster, whose path may be longer than a socket's can be.
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "cluster_name": "tollway",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    # Nothing replicates from an embedded server.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "1GB",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%Y%m%dT%H%M%S.log",
    "log_rotation_size": "10MB",
    "log_rotation_age": "0",
    "log_checkpoints": "off",
    # Statements may carry passwords (CREATE ROLE); the log must not.
    "log_min_error_statement": "panic",
}

PG_HBA = f"""\
# Written by Tollway. There is no network listener; this socket is the only way in.
local all {ADMIN} reject
local all all scram-sha-256
"""


class ClusterRunner(msgspec.Struct, frozen=True, kw_only=True):
    """What every program that works on a cluster needs; the lock is held by whoever made this."""

    install: Install
    account: Account
    users_lock: Path
    server_lock_fd: int

    def program(self, directory: Path, name: str, *arguments: str) -> Program:
        return Program(
            argv=(self.install.program(name), *arguments),
            directory=directory,
            account=self.account,
            users_lock=self.users_lock,
            server_lock_fd=self.server_lock_fd,
        )

    def data_argument(self, directory: Path) -> str:
        """How the program names the directory it was started in.

        As another user it may have no right to walk there by name; its working directory needs no
        walk.
        """
        return str(directory) if self.account.uid is None else "/proc/self/cwd"


def create_cluster(
    runner: ClusterRunner, cluster: Path, password_file: Path, *, allow_createdb: bool
) -> None:
    """Make the cluster with its owner role and database, whole or not at all.

    Raises:
        EmbeddedPostgresError: a step failed; nothing but a scratch directory is left, which the
        next try removes.
    """
    scratch = cluster.with_name(f"{cluster.name}.new")
    try:
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(mode=0o700)
        if runner.account.uid is not None and runner.account.gid is not None:
            os.chown(scratch, runner.account.uid, runner.account.gid)
        _initdb(runner, scratch)
        (scratch / "pg_hba.conf").write_text(PG_HBA)
        password = make_password(password_file)
        createdb = "CREATEDB" if allow_createdb else "NOCREATEDB"
        run_sql(
            runner,
            scratch,
            f"CREATE ROLE {OWNER} LOGIN CREATEROLE {createdb} PASSWORD '{password}'",
            f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
        )
        scratch.rename(cluster)
    except OSError as exc:
        raise EmbeddedPostgresError(explain(str(exc), cluster)) from exc


def reset_password(runner: ClusterRunner, cluster: Path, password_file: Path) -> None:
    """Give the owner role of a cluster at rest a new password."""
    password = make_password(password_file)
    run_sql(runner, cluster, f"ALTER ROLE {OWNER} PASSWORD '{password}'")


def make_password(password_file: Path) -> str:
    """Write a new password to a file of ours alone; it needs no quoting in SQL or in a URL."""
    password = secrets.token_hex(32)
    scratch = password_file.with_name(f"{password_file.name}.new")
    scratch.unlink(missing_ok=True)
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(password)
        file.flush()
        os.fsync(fd)
    scratch.rename(password_file)
    return password


def run_sql(runner: ClusterRunner, directory: Path, *statements: str) -> None:
    """Run statements as the superuser on a cluster at rest: without a server, so without a login.

    Raises:
        EmbeddedPostgresError: one of them failed.
    """
    program = runner.program(
        directory,
        "postgres",
        "--single",
        *setting_arguments({"log_min_error_statement": "panic", "log_checkpoints": "off"}),
        "-D",
        runner.data_argument(directory),
        "postgres",
    )
    result = run_to_end(program, stdin="".join(f"{statement}\n" for statement in statements))
    if result.returncode != 0 or re.search(r"(ERROR|FATAL|PANIC):", result.stdout):
        raise EmbeddedPostgresError(explain(result.stdout, directory))


def setting_arguments(settings: Mapping[str, str]) -> list[str]:
    """Settings as arguments, so that a newer Tollway brings its own to an older cluster."""
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def remove_old_logs(cluster: Path) -> None:
    """Keep the newest log files."""
    for path in sorted(cluster.glob("log/postgresql-*.log"))[:-LOG_FILES_KEPT]:
        path.unlink(missing_ok=True)


def explain(output: str, cluster: Path) -> str:
    """Turn what a program wrote before it failed into one message with a remedy."""
    if re.search("No space left on device|Check free disk space|quota exceeded", output):
        return f"the disk is full; free space for {cluster} or move TOLLWAY_DATA_DIR"
    if "Read-only file system" in output or "Permission denied" in output:
        remedy = "make TOLLWAY_DATA_DIR writable for the user that runs Tollway"
    elif "shared memory" in output:
        remedy = "give this machine or container more shared memory, or set TOLLWAY_DATABASE_URL"
    elif 'lock file "postmaster.pid" already exists' in output:
        remedy = "another program started a PostgreSQL there; stop it, or set TOLLWAY_DATABASE_URL"
    else:
        remedy = f"see {cluster / 'log'}"
    lines = [line for line in output.splitlines() if line.strip()][-5:]
    return f"PostgreSQL failed on {cluster}: {' / '.join(lines) or 'no output'}; {remedy}"


def _initdb(runner: ClusterRunner, directory: Path) -> None:
    builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    result = run_to_end(
        runner.program(
            directory,
            "initdb",
            f"--pgdata={runner.data_argument(directory)}",
            f"--username={ADMIN}",
            "--auth-local=reject",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            *(builtin if runner.install.major >= 17 else ()),  # noqa: PLR2004 - the first that has it
            "--data-checksums",
            "--no-instructions",
        )
    )
    if result.returncode != 0:
        raise EmbeddedPostgresError(explain(result.stdout, directory))
