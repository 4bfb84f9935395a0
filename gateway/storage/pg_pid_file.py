"""Read what a PostgreSQL server writes about itself into its cluster, `postmaster.pid`."""

from collections.abc import Callable
from pathlib import Path

STATUS_LINE = 7


class PidFile:
    """The pid file of one cluster, present or not.

    Source: PostgreSQL's `src/include/utils/pidfile.h`; the eighth line is the status.
    """

    def __init__(self, cluster: Path) -> None:
        self._path = cluster / "postmaster.pid"

    @property
    def pid(self) -> int | None:
        """The process id it names; None without a file. Only a claim: the process may be gone."""
        lines = self._lines()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    @property
    def status(self) -> str:
        """`starting`, `ready` or `stopping`; empty when there is no file or no status yet."""
        lines = self._lines()
        return lines[STATUS_LINE].strip() if len(lines) > STATUS_LINE else ""

    def remove_if_stale(self, say: Callable[[str], None]) -> None:
        """Forget a crashed server whose process id has since gone to some other program.

        PostgreSQL sees for itself when nobody has the id any more, but it takes a stranger for
        its former self, as happens in a container that was killed and starts again. Only the
        holder of the server lock may call this.
        """
        pid = self.pid
        if pid is None:
            return
        try:
            status = Path("/proc", str(pid), "status").read_text()
        except OSError:
            return
        name = status.partition("Name:")[2].partition("\n")[0].strip()
        # A dead server that no parent has collected still has its id and its name.
        is_zombie = "State:\tZ" in status
        if name == "postgres" and not is_zombie:
            return
        if not is_zombie:
            say(
                f"process {pid}, named by a PostgreSQL that crashed, is now {name!r}; starting anew"
            )
        self._path.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        try:
            return self._path.read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            return []
