"""Run one PostgreSQL program without root, for as long as any Tollway is there that uses it.

A script, started by `pg_process` as ``python -I -S pg_supervisor.py SPEC``; it therefore imports
the standard library alone. It waits for an exclusive lock on the users file, of which every
Tollway that uses the server holds a shared one. The kernel gives that lock away only when all of
them are gone, however they died, and then the program is told to stop.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1
FAST_SHUTDOWN_S = 30.0
FIRST_FREE_FD = 3


def main(spec: dict[str, Any]) -> int:
    """Start ``argv`` and wait for its end; returns its exit code, 128 + number for a signal.

    Keys of the spec: ``argv``, ``cwd``, ``env``; ``uid`` and ``gid`` (None: stay who we are);
    ``users_lock``, a path; ``server_lock_fd``, an inherited descriptor the program keeps open
    until its last process ends.
    """
    server_lock_fd: int = spec["server_lock_fd"]
    os.closerange(FIRST_FREE_FD, server_lock_fd)
    os.closerange(server_lock_fd + 1, os.sysconf("SC_OPEN_MAX"))
    users_fd = os.open(spec["users_lock"], os.O_RDWR | os.O_CLOEXEC)
    prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    supervisor = os.getpid()

    program = os.fork()
    if program == 0:
        try:
            _become(spec, prctl, supervisor)
        except OSError as exc:
            os.write(2, f"{spec['argv'][0]}: {exc}\n".encode())
        finally:
            os._exit(127)

    # The lock has to end with the program, not with us.
    os.close(server_lock_fd)
    threading.Thread(target=_stop_when_unused, args=(users_fd, program), daemon=True).start()
    _, status = os.waitpid(program, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _become(spec: dict[str, Any], prctl: Callable[..., int] | None, supervisor: int) -> None:
    os.umask(0o077)
    # Entered while still root: the new user needs no right to search the directories above.
    os.chdir(spec["cwd"])
    if spec["uid"] is not None:
        os.setgroups([])
        os.setresgid(spec["gid"], spec["gid"], spec["gid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    if prctl is not None:
        # After the change of user, which would clear it; SIGINT is PostgreSQL's fast shutdown.
        prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(127)
    os.set_inheritable(spec["server_lock_fd"], True)  # noqa: FBT003 - its own signature
    os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - no shell is wanted


def _stop_when_unused(users_fd: int, program: int) -> None:
    fcntl.flock(users_fd, fcntl.LOCK_EX)
    with contextlib.suppress(ProcessLookupError):
        os.kill(program, signal.SIGINT)
        time.sleep(FAST_SHUTDOWN_S)
        # An immediate shutdown loses nothing: the next start recovers from the log.
        os.kill(program, signal.SIGQUIT)


if __name__ == "__main__":
    # Without waiting for the thread, which may sit in flock for ever.
    os._exit(main(json.loads(sys.argv[1])))
