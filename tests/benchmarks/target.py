"""What is measured: a program that serves chat completions on a port."""

from collections.abc import Mapping, Sequence

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Something to measure."""

    name: str
    command: Sequence[str]
    port: int
    api_key: str = "bench"
    model: str = "bench"
    env: Mapping[str, str] = {}
    path: str = "/v1/chat/completions"
    ready_path: str | None = None
    """Asked until it answers 200 before measuring; None means the open port is enough."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"
