"""What a worker process is told when it starts: one JSON line on its standard input."""

import msgspec


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a worker needs beside the settings, which it reads itself.

    Its standard input stays open as long as its parent lives: the end of it means that the parent
    is gone, however it went. ``database_url`` may hold a password: never log this value.
    """

    worker: int
    """0 for the first, which also serves the admin listener."""
    worker_count: int
    config_path: str | None
    data_dir: str
    database_url: str
    host: str
    port: int
    admin_port: int | None
    """None: this worker has no admin listener."""
    simulated_url: str | None = None
    """Where the simulated providers listen; None: they do not serve."""
    drain_listen_s: float
    status_fd: int
    """Where the worker says that it is ready."""

    def __repr__(self) -> str:
        return f"Orders(worker {self.worker} of {self.worker_count})"
