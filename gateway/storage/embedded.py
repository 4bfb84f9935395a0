"""The PostgreSQL that Tollway brings along: one private server per data directory.

Any number of Tollway processes share it. How it is kept safe:

* As root the programs run as the user ``nobody``. They are started *inside* the cluster's directory
  and name it through their working directory, so no directory above it has to be opened to anybody.
* The socket lies in the cluster's own 0700 directory, and there is no network listener. When its
  path is too long for a socket, clients go through a link in a private directory with a short name.
* Roles log in with SCRAM; the superuser cannot log in at all.

Beside the cluster lie ``users.lock``, on which every user holds a shared lock; ``server.lock``,
locked by the server's processes until the last of them has ended; and ``password``, the owner
role's. When all users are gone, even by SIGKILL, the supervisor stops the server.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.storage.file_lock import is_locked_exclusively, open_locked, try_lock
from gateway.storage.pg_address import database_url, is_fit, make_short, remove_short, try_to_log_in
from gateway.storage.pg_binaries import choose_install, find_installs, make_runnable
from gateway.storage.pg_cluster import (
    SETTINGS,
    ClusterRunner,
    create_cluster,
    explain,
    remove_old_logs,
    reset_password,
    setting_arguments,
)
from gateway.storage.pg_pid_file import PidFile
from gateway.storage.pg_process import EmbeddedPostgresError, choose_account, spawn

START_TIMEOUT_S = 300.0
"""Long enough for the recovery of a full write-ahead log on a slow disk."""

STOP_TIMEOUT_S = 40.0
NEWCOMER_AFTER_S = 1.0
POLL_S = 0.02


class EmbeddedPostgres:
    """The server of one data directory. Its methods block: keep them off the request path."""

    def __init__(
        self,
        data_dir: Path,
        *,
        allow_createdb: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Touch nothing yet.

        Args:
            data_dir: TOLLWAY_DATA_DIR; everything lies in its subdirectory ``postgres``.
            allow_createdb: let the owner role of a cluster made now create databases (for tests).
            settings: PostgreSQL settings beside or instead of ours, for a server started now.
        """
        self._home = data_dir.absolute() / "postgres"
        self._cluster = self._home / "data"
        self._pid_file = PidFile(self._cluster)
        self._users_lock = self._home / "users.lock"
        self._server_lock = self._home / "server.lock"
        self._short_record = self._home / "socket_path"
        self._password_file = self._home / "password"
        self._allow_createdb = allow_createdb
        self._settings = {**SETTINGS, **(settings or {})}
        self._users_fd: int | None = None
        self._link_fd: int | None = None
        self._socket_dir: Path | None = None
        self._url: str | None = None
        self._supervisor: int | None = None
        self._started_in = 0

    def start(self, *, on_progress: Callable[[str], None] | None = None) -> str:
        """Make sure that the server runs and answers; returns `url`.

        Creates the cluster at first use, adopts a server that another Tollway runs on this
        directory, starts a new one after a crash. Any number of processes may call it at once.

        Args:
            on_progress: told in a few words what takes time.

        Raises:
            EmbeddedPostgresError: it cannot be made to run.
        """
        say = on_progress or _say_nothing
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            self._make_home()
            self._join_users(deadline)
            while True:
                lock_fd = open_locked(self._server_lock)
                if lock_fd is not None:
                    try:
                        self._launch(lock_fd, say)
                    finally:
                        os.close(lock_fd)
                if self._wait_until_ready(deadline, launched=lock_fd is not None):
                    return self.url
        except (OSError, EmbeddedPostgresError) as exc:
            with contextlib.suppress(EmbeddedPostgresError):
                self.stop()
            if isinstance(exc, EmbeddedPostgresError):
                raise
            raise EmbeddedPostgresError(explain(str(exc), self._cluster)) from exc
        except BaseException:
            self._leave_users()
            raise

    def stop(self) -> None:
        """Stop the server unless another Tollway still uses it.

        Without effect when it was not started here, and in a forked child.

        Raises:
            EmbeddedPostgresError: it does not end.
        """
        if not self._leave_users():
            return
        deadline = time.monotonic() + STOP_TIMEOUT_S
        shared_since: float | None = None
        while is_locked_exclusively(self._server_lock):
            now = time.monotonic()
            # Its supervisor holds the users file exclusively while it stops the server.
            if is_locked_exclusively(self._users_lock):
                shared_since = None
            else:
                shared_since = shared_since or now
                if now - shared_since > NEWCOMER_AFTER_S:
                    return
            if now > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL on {self._cluster} does not stop")
            time.sleep(POLL_S)
        self._reap()

    def is_running(self) -> bool:
        """Whether a server of this data directory takes connections, whoever started it."""
        return is_locked_exclusively(self._server_lock) and self._pid_file.status == "ready"

    @property
    def url(self) -> str:
        """Where the database is: a libpq URI with the owner's password, so it belongs in no log.

        ``postgresql://user:password@/database?host=DIRECTORY&port=NUMBER`` is understood as it
        stands by asyncpg and by libpq (ADBC), and by SQLAlchemy with ``postgresql+asyncpg:`` at its
        front. It stays the same when the server is started again.

        Raises:
            EmbeddedPostgresError: not started.
        """
        if self._url is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL has not been started")
        return self._url

    @property
    def dsn(self) -> str:
        """The same as `url`."""
        return self.url

    @property
    def socket_dir(self) -> Path:
        """The private directory of the socket, short enough for one.

        Raises:
            EmbeddedPostgresError: not started.
        """
        if self._socket_dir is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL has not been started")
        return self._socket_dir

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it does not run."""
        return self._pid_file.pid if is_locked_exclusively(self._server_lock) else None

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self._home.parent)!r})"

    def _make_home(self) -> None:
        data_dir = self._home.parent
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._home.mkdir(mode=0o700, exist_ok=True)
            owner = self._home.stat().st_uid
            if owner == os.geteuid():
                self._home.chmod(0o700)
                for lock in (self._users_lock, self._server_lock):
                    os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise EmbeddedPostgresError(
                f"the data directory {data_dir} cannot be used: {exc.strerror}: {exc.filename}; "
                "make it writable for the user that runs Tollway, or set TOLLWAY_DATA_DIR"
            ) from exc
        if owner != os.geteuid():
            raise EmbeddedPostgresError(
                f"{self._home} belongs to user id {owner}, Tollway runs as {os.geteuid()}; "
                "start it as that user, or choose another TOLLWAY_DATA_DIR"
            )

    def _join_users(self, deadline: float) -> None:
        if self._users_fd is not None:
            return
        fd = os.open(self._users_lock, os.O_RDWR | os.O_CLOEXEC)
        # A supervisor that stops the server of users now gone holds it exclusively.
        while not try_lock(fd, exclusive=False):
            if time.monotonic() > deadline:
                os.close(fd)
                raise EmbeddedPostgresError(f"PostgreSQL on {self._cluster} does not stop")
            time.sleep(POLL_S)
        self._users_fd = fd
        self._started_in = os.getpid()

    def _leave_users(self) -> bool:
        """Give up our share; True when nobody else holds one."""
        if self._link_fd is not None:
            os.close(self._link_fd)
        self._link_fd = self._url = self._socket_dir = None
        if self._users_fd is None:
            return False
        fd, self._users_fd = self._users_fd, None
        # A forked child shares its parent's lock and must not convert it.
        was_last = self._started_in == os.getpid() and try_lock(fd, exclusive=True)
        if was_last:
            remove_short(record=self._short_record)
        os.close(fd)
        return was_last

    def _launch(self, lock_fd: int, say: Callable[[str], None]) -> None:
        """Start a server, as the holder of the server lock."""
        self._reap()
        account = choose_account()
        if self._cluster.exists():
            self._require_owner(account.uid if account.uid is not None else os.geteuid())
        install = make_runnable(choose_install(find_installs(), self._cluster), account)
        runner = ClusterRunner(
            install=install, account=account, users_lock=self._users_lock, server_lock_fd=lock_fd
        )
        if not self._cluster.exists():
            say("creating the database")
            create_cluster(
                runner, self._cluster, self._password_file, allow_createdb=self._allow_createdb
            )
        self._pid_file.remove_if_stale(say)
        if not self._password_file.exists():
            say("setting a new database password")
            reset_password(runner, self._cluster, self._password_file)
        remove_old_logs(self._cluster)
        say("starting PostgreSQL")
        arguments = ("-D", runner.data_argument(self._cluster), *setting_arguments(self._settings))
        server = runner.program(self._cluster, "postgres", *arguments)
        self._supervisor = spawn(server, output=self._home / "start.log")

    def _require_owner(self, uid: int) -> None:
        owner = self._cluster.stat().st_uid
        if owner != uid:
            raise EmbeddedPostgresError(
                f"{self._cluster} belongs to user id {owner} and PostgreSQL would run as {uid}; "
                f"run `chown -R {uid} {self._cluster}`"
            )

    def _wait_until_ready(self, deadline: float, *, launched: bool) -> bool:
        """True when the server answers; False when another's server ended, and we may start one."""
        reason = "it is still starting"
        while time.monotonic() < deadline:
            if self._pid_file.status == "ready" and self._password_file.exists():
                self._locate()
                failure = try_to_log_in(self.url)
                if failure is None:
                    return True
                reason = failure
            if not is_locked_exclusively(self._server_lock):
                if launched:
                    self._reap()
                    raise EmbeddedPostgresError(explain(self._last_words(), self._cluster))
                return False
            time.sleep(POLL_S)
        raise EmbeddedPostgresError(f"PostgreSQL on {self._cluster} does not answer: {reason}")

    def _locate(self) -> None:
        if self._socket_dir is None:
            self._socket_dir = self._cluster
            if not is_fit(self._cluster):
                self._socket_dir = make_short(self._cluster, record=self._short_record)
                self._link_fd = os.open(self._socket_dir.parent, os.O_RDONLY | os.O_CLOEXEC)
                # systemd-tmpfiles leaves a directory alone while somebody holds a lock on it.
                fcntl.flock(self._link_fd, fcntl.LOCK_SH)
        self._url = database_url(self._socket_dir, self._password_file.read_text())

    def _last_words(self) -> str:
        logs = sorted(self._cluster.glob("log/postgresql-*.log"))[-1:]
        words = [self._home / "start.log", *logs]
        return "\n".join(path.read_text(errors="replace") for path in words if path.exists())

    def _reap(self) -> None:
        """Collect the supervisor of a server that has ended."""
        if self._supervisor is None:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._supervisor, 0)
        self._supervisor = None


def _say_nothing(_: str) -> None: ...
