"""Whether a port is free, and who holds it: asked before anything is started.

Two servers that set SO_REUSEPORT bind one port without an error and share its traffic, so the
question is asked with a socket that does not set it.
"""

import errno
import socket
from pathlib import Path

_TCP_LISTEN = "0A"


class PortError(Exception):
    """A port cannot be used; the message names it, its holder if known, and the remedy."""


def probe_port(host: str, port: int, *, purpose: str, remedy: str) -> int:
    """The port to listen on; for 0, one that is free now.

    Args:
        host: the address to bind.
        port: 0 to 65535.
        purpose: who wants it, for the message.
        remedy: the flag or variable that chooses another.

    Raises:
        PortError: it is taken, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections in TIME_WAIT do not count; a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as exc:
            raise PortError(_explain(host, port, purpose, remedy, exc)) from exc
        return int(probe.getsockname()[1])


def _explain(host: str, port: int, purpose: str, remedy: str, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        holder = find_holder(port)
        by = f" by {holder}" if holder else ""
        return (
            f"{purpose}: port {port} on {host} is in use{by}; stop it or choose another: {remedy}"
        )
    if exc.errno == errno.EACCES:
        return f"{purpose}: port {port} needs privileges; choose one above 1023: {remedy}"
    return f"{purpose}: cannot listen on {host}:{port}: {exc.strerror}; choose another: {remedy}"


def find_holder(port: int) -> str | None:
    """Who listens on a local TCP port, as ``name (pid N)``; None if that is not known."""
    pid = _holder_pid(port)
    if pid is None:
        return None
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None
    return f"{name} (pid {pid})"


def is_held_below(port: int, pid: int) -> bool:
    """Whether a process listens on a local TCP port that is this one, or that it started."""
    holder = _holder_pid(port)
    while holder is not None and holder > 1:
        if holder == pid:
            return True
        holder = _parent_of(holder)
    return False


def _parent_of(pid: int) -> int | None:
    try:
        # The name, in parentheses, may hold blanks; the parent is the second field behind it.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _holder_pid(port: int) -> int | None:
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                target = str(descriptor.readlink())
                if target.startswith("socket:[") and target[8:-1] in inodes:
                    return int(process.name)
        except OSError:
            # Another user's process, or one that has just ended.
            continue
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            local, state, inode = fields[1], fields[3], fields[9]
            if state == _TCP_LISTEN and int(local.rpartition(":")[2], 16) == port:
                inodes.add(inode)
    return inodes
